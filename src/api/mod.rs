//! The functions that SQL calls, a file for a topic: they check, delegate and return. Their SQL
//! declarations are in sql/.
#![allow(clippy::type_complexity, reason = "pgrx reads the columns from the written-out type")]

mod among;
mod architecture;
mod autoencoder;
mod explain;
mod generate;
mod ids;
mod images;
mod metrics;
mod numbers;
mod ranked;
mod ratings;
mod recommend;
mod registry;
mod retrain;
mod sequences;
mod shipped;
mod similar;
mod synthesize;
mod texts;
mod train;
mod training_plot;
mod versions;
