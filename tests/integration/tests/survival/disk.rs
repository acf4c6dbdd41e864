//! A disk that is full when a version is stored.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use postgres::error::SqlState;
use teller_tests::{Database, Server, Statements};

use crate::{answers, train, training, two_groups};

/// A small disk of its own, for a tablespace.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Says that the test is skipped where nothing can be mounted.
    fn mount(server: &Server) -> Option<Self> {
        let path = Path::new(server.folder()).join("small");
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            // Straight to standard error: the harness keeps what eprintln! says of a passed test.
            let _ = writeln!(std::io::stderr(), "skipped: no file system can be mounted here");
            return None;
        }
        let disk = Self(path);
        let like_data = format!("--reference={}/data", server.folder());
        assert!(Command::new("chown").arg(like_data).arg(&disk.0).status().unwrap().success());
        Some(disk)
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filling")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn clear(&self) {
        std::fs::remove_file(self.0.join("filling")).unwrap();
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
    let Some(disk) = SmallDisk::mount(&server) else { return };
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
