use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use postgres::Client;

use crate::Statements;

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the root exists")
}

/// A file of the larger real data sets, which lie outside the repository: in `TELLER_DATA`, at
/// first `../shared/data`. Says that the test is skipped where the file is absent.
pub fn external(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TELLER_DATA").map_or("../shared/data".into(), PathBuf::from);
    let path = repository().join(folder).join(file);
    if path.exists() {
        return Some(path);
    }
    // Straight to standard error: the test harness keeps what eprintln! says of a passed test.
    let _ = writeln!(std::io::stderr(), "skipped: {} is absent", path.display());
    None
}

/// Makes `mnist (id int, label text, image bytea)` of MNIST's 60,000 training images. They are
/// sorted by label: a sample goes by a hash of the id.
pub fn load_mnist(client: &mut Client, file: &Path) {
    client.run("CREATE TABLE mnist (id int PRIMARY KEY, label text, image bytea)");
    let mut unzip = Command::new("gzip")
        .arg("-dc")
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let lines = unzip.stdout.take().expect("gzip's output is a pipe");
    copy(client, "COPY mnist FROM STDIN", lines);
    assert!(unzip.wait().expect("gzip ends").success(), "gzip failed");
}

/// Makes a table of a TSV file with a header line; `columns` is its definition.
pub fn load_tsv(client: &mut Client, table: &str, columns: &str, file: &Path) {
    client.run(&format!("CREATE TABLE {table} ({columns})"));
    let mut lines = BufReader::new(File::open(file).expect("the data can be read"));
    lines.skip_until(b'\n').expect("the data has a header");
    copy(client, &format!("COPY {table} FROM STDIN"), lines);
}

fn copy(client: &mut Client, statement: &str, mut lines: impl Read) {
    let mut writer = client.copy_in(statement).expect("COPY starts");
    std::io::copy(&mut lines, &mut writer).expect("COPY takes the rows");
    writer.finish().expect("COPY ends");
}
