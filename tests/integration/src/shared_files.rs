//! The files in which all backends share one copy of a model's numbers.

use std::fs;
use std::path::PathBuf;

use postgres::Client;

use crate::Statements;

/// The folder of the files of the client's server.
pub fn folder(client: &mut Client) -> PathBuf {
    let data: String = client.value("SHOW data_directory");
    PathBuf::from(data).join("pg_teller")
}

/// All files of the client's database: numbers, drafts, markers.
pub fn entries(client: &mut Client) -> Vec<PathBuf> {
    let oid: u32 = client.value("SELECT oid FROM pg_database WHERE datname = current_database()");
    let prefix = format!("pgsql_tmp.{oid}.");
    let Ok(entries) = fs::read_dir(folder(client)) else { return Vec::new() };
    let ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&prefix);
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(ours).collect();
    paths.sort();
    paths
}

/// The files of the client's database, without markers.
pub fn files(client: &mut Client) -> Vec<PathBuf> {
    let mut paths = entries(client);
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "checked"));
    paths
}

/// The one file of the client's database.
#[track_caller]
pub fn only_file(client: &mut Client) -> PathBuf {
    let mut files = files(client);
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

/// How many of them the client's backend has mapped; nothing if the kernel does not tell.
pub fn maps(client: &mut Client) -> Option<usize> {
    let pid: i32 = client.value("SELECT pg_backend_pid()");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    Some(maps.lines().filter(|line| line.contains("/pg_teller/")).count())
}
