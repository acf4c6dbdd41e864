//! The functions that SQL calls, a file for a topic: they check, delegate and return. Their SQL
//! declarations are in sql/.

mod images;
mod numbers;
mod recommend;
mod registry;
mod train;
