//! A disk that is full: of a model's tablespace, of the WAL, of the files of shared numbers.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres::error::SqlState;
use teller_tests::shared_files::{entries, folder, maps, only_file};
use teller_tests::{Database, Server, Statements};

use crate::{answers, train, train_large, training, two_groups, wait_until};

/// A small disk of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Says that the test is skipped where nothing can be mounted.
    fn mount(server: &Server, path: &Path, megabytes: u32) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=700"), "tmpfs"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            // Straight to standard error: the harness keeps what eprintln! says of a passed test.
            let _ = writeln!(std::io::stderr(), "skipped: no file system can be mounted here");
            return None;
        }
        let disk = Self(path.to_owned());
        let like_data = format!("--reference={}/data", server.folder());
        assert!(Command::new("chown").arg(like_data).arg(&disk.0).status().unwrap().success());
        Some(disk)
    }

    fn fill(&self) {
        let mut file = File::create(self.0.join("filling")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn clear(&self) {
        fs::remove_file(self.0.join("filling")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because the server has files open on it until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_the_version_and_the_old_one_serves() {
    let server = Server::start();
    let path = Path::new(server.folder()).join("small");
    let Some(disk) = SmallDisk::mount(&server, &path, 4) else { return };
    let database = Database::on(&server);
    let mut client = database.connect();
    client.run(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display()));
    client.run("SET default_tablespace = small");
    two_groups(&mut client);
    train(&mut client, "m", "als");
    let before = answers(&mut client, "m");

    disk.fill();
    // Until the pages that are there have no room left.
    let mut stored = 0;
    let state = loop {
        match client.simple_query(&training("m", "als")) {
            Ok(_) => stored += 1,
            Err(error) => break error.code().cloned(),
        }
        assert!(stored < 20, "the disk does not fill");
    };
    assert_eq!(state, Some(SqlState::DISK_FULL));
    client.refused(&training("fresh", "svd"), &SqlState::DISK_FULL);
    assert!(client.value::<bool>("SELECT to_regclass('fresh') IS NULL"));
    for session in [&mut client, &mut database.connect()] {
        assert_eq!(answers(session, "m"), before, "the same data, seed and algorithm");
    }
    let manifests: i64 = client.value("SELECT count(*) FROM m WHERE part = ''");
    assert_eq!(manifests, 1 + stored);
    let torn: i64 = client.value(
        "SELECT count(*) FROM m WHERE part <> 'promotion'
             AND version NOT IN (SELECT version FROM m WHERE part = '')",
    );
    assert_eq!(torn, 0, "rows of a version that is not there");

    disk.clear();
    train(&mut client, "m", "svd");
    assert_ne!(answers(&mut client, "m"), before);
}

/// PostgreSQL itself stops when it cannot write its log. What it told its clients stays.
#[test]
fn a_full_wal_disk_stops_the_server_and_harms_no_model() {
    let server = Server::start();
    let database = Database::on(&server);
    let mut client = database.connect();
    client.run("ALTER SYSTEM SET synchronous_commit = on");
    // No checkpoint makes room by taking old segments again.
    client.run("ALTER SYSTEM SET checkpoint_timeout = '1h'");
    two_groups(&mut client);
    let known: Vec<String> = ["als", "svd", "popular"]
        .map(|algorithm| {
            train(&mut client, "m", algorithm);
            answers(&mut client, "m")
        })
        .into();
    drop(client);
    server.stop();
    let folder = Path::new(server.folder());
    let Some(disk) = SmallDisk::mount(&server, &folder.join("wal"), 64) else { return };
    let moved = Command::new("mv").arg(folder.join("data/pg_wal")).arg(folder.join("wal")).status();
    assert!(moved.unwrap().success());
    symlink(folder.join("wal/pg_wal"), folder.join("data/pg_wal")).unwrap();
    server.recover();

    let mut client = database.connect();
    disk.fill();
    let production = "SELECT max(version) FROM m WHERE status = 'production'";
    let changes = "SELECT count(*) FROM m WHERE part = 'promotion'";
    let mut told: i64 = client.value(changes);
    let change = || -> Result<(), postgres::Error> {
        client.simple_query("SELECT pg_logical_emit_message(true, '', repeat('x', 1000000))")?;
        client.simple_query(if told % 2 == 0 {
            "SELECT teller.rollback('m')"
        } else {
            "SELECT teller.promote('m', 1)"
        })?;
        told += 1;
        Ok(())
    };
    let failed = std::iter::repeat_with(change).take(200).find_map(Result::err);
    assert!(failed.is_some(), "the disk does not fill");

    disk.clear();
    wait_until("the server ends", || client.simple_query("SELECT 1").is_err());
    server.recover();
    let mut client = database.connect();
    assert!(client.value::<bool>("SELECT teller.verify_audit_log() IS NULL"));
    let done: i64 = client.value(changes);
    assert!(done == told || done == told + 1, "{done} changes are there, it told of {told}");
    let version: i32 = client.value(production);
    assert_eq!(answers(&mut client, "m"), known[version as usize - 1]);
    client.run("SELECT teller.promote('m', 2)");
    assert_eq!(answers(&mut client, "m"), known[1]);
    train(&mut client, "m", "als");
    assert_eq!(answers(&mut client, "m"), known[0], "the same data, seed and algorithm");
}

#[test]
fn a_full_disk_under_the_shared_files_leaves_each_backend_its_own_copy() {
    let server = Server::start();
    let database = Database::on(&server);
    let mut client = database.connect();
    train_large(&mut client, "m", 31);
    let expected = answers(&mut client, "m");
    fs::remove_dir_all(folder(&mut client)).unwrap();
    let path = folder(&mut client);
    let Some(disk) = SmallDisk::mount(&server, &path, 4) else { return };
    disk.fill();
    for room in [0, 8 << 10, 600 << 10] {
        // Room for nothing, for the beginning, for about half of it.
        let filling = File::options().write(true).open(path.join("filling")).unwrap();
        filling.set_len((4 << 20) - room).unwrap();
        for _ in 0..2 {
            let mut session = database.connect();
            assert_eq!(answers(&mut session, "m"), expected, "room for {room} bytes");
            assert!(maps(&mut session).is_none_or(|maps| maps == 0));
            assert!(entries(&mut client).is_empty(), "room for {room} bytes");
        }
    }
    // The folder belongs to the whole server, and so does its disk: training needs neither.
    train_large(&mut client, "m", 977);
    let second = answers(&mut client, "m");
    assert_ne!(second, expected);
    disk.clear();
    let mut session = database.connect();
    assert_eq!(answers(&mut session, "m"), second);
    assert!(maps(&mut session).is_none_or(|maps| maps == 1));
    only_file(&mut client);
}
