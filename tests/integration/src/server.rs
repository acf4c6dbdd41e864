use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};

use crate::repository;

/// A private PostgreSQL server that does not outlive this process.
///
/// `scripts/server.sh guard` runs it and stops it when our end of its standard input closes,
/// which happens when the value is dropped and, however the process ends, at its end. So the
/// server of [`Server::shared`], which is never dropped, goes too.
pub struct Server {
    folder: String,
    input: Option<ChildStdin>,
    guard: Child,
}

impl Server {
    /// A server of the caller's own, for tests that restart it or fill it.
    pub fn start() -> Self {
        let server = Self::guarded(&[]);
        server.prepare_templates();
        server
    }

    /// A streaming standby of `primary`.
    pub fn standby_of(primary: &Self) -> Self {
        Self::guarded(&[&primary.folder])
    }

    fn guarded(arguments: &[&str]) -> Self {
        let mut guard = script()
            .arg("guard")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/server.sh runs");
        let input = guard.stdin.take();
        let output = guard.stdout.take().expect("the guard's output is a pipe");
        let mut folder = String::new();
        BufReader::new(output).read_line(&mut folder).expect("the guard's output is text");
        let folder = folder.trim_end().to_owned();
        assert!(!folder.is_empty(), "the private server did not start");
        Self { folder, input, guard }
    }

    /// The server that all tests of one binary share, each in a database of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Stops the server in an orderly way and starts it again; all its sessions end.
    pub fn restart(&self) {
        let status = script().arg("restart").arg(&self.folder).status();
        assert!(status.expect("scripts/server.sh runs").success(), "the server did not restart");
    }

    /// Stops the server in an orderly way; [`Server::recover`] starts it again.
    pub fn stop(&self) {
        let status = script().arg("stop").arg(&self.folder).status();
        assert!(status.expect("scripts/server.sh runs").success(), "the server did not stop");
    }

    /// Ends the postmaster as a crash would, with SIGKILL.
    pub fn kill(&self) {
        let status = script().arg("kill").arg(&self.folder).status();
        assert!(status.expect("scripts/server.sh runs").success(), "the server was not killed");
    }

    /// Starts the server unless it runs; while processes of the old one are still there
    /// PostgreSQL refuses to, so this tries for ten seconds.
    pub fn recover(&self) {
        let start = Instant::now();
        loop {
            if self.config("postgres", "postgres").connect(NoTls).is_ok() {
                return;
            }
            let output = script().arg("start").arg(&self.folder).output();
            let output = output.expect("scripts/server.sh runs");
            if output.status.success() {
                return;
            }
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(start.elapsed() < Duration::from_secs(10), "it does not start again:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A program of PostgreSQL's, such as `pg_dump`, for the superuser of this server.
    pub fn program(&self, name: &str) -> Command {
        let pg_config =
            std::env::var("PG_CONFIG").unwrap_or("/usr/lib/postgresql/15/bin/pg_config".to_owned());
        let mut command = Command::new(std::path::Path::new(&pg_config).with_file_name(name));
        command.env("PGHOST", &self.folder).env("PGUSER", "postgres");
        command
    }

    /// A session of `role` in `database`.
    pub fn connect(&self, database: &str, role: &str) -> Client {
        self.config(database, role)
            .connect(NoTls)
            .unwrap_or_else(|error| panic!("connecting to {database} as {role}: {error}"))
    }

    pub(crate) fn config(&self, database: &str, role: &str) -> Config {
        let mut config = Config::new();
        // Progress is not what tests read, save where they listen for it.
        config.host(&self.folder).dbname(database).user(role).notice_callback(drop);
        config
    }

    /// Where its socket and its data lie.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Makes the demo's tables in `database`.
    pub fn load_demo(&self, database: &str) {
        // By psql, since the files load data that lies beside them.
        let status = self
            .program("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database])
            .args(["-f", "demo/digits.sql", "-f", "demo/bank.sql"])
            .current_dir(repository())
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("psql runs").success(), "the demo's tables were not loaded");
    }

    /// Copying a database with the extension takes less time than `CREATE EXTENSION`.
    fn prepare_templates(&self) {
        let mut root = self.connect("postgres", "postgres");
        root.batch_execute("CREATE DATABASE with_extension").unwrap();
        let mut template = self.connect("with_extension", "postgres");
        template.batch_execute("CREATE EXTENSION pg_teller").expect("CREATE EXTENSION pg_teller");
        template.close().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        // The guard's own failure would show as a server that is still there.
        let _ = self.guard.wait();
    }
}

fn script() -> Command {
    Command::new(repository().join("scripts/server.sh"))
}
