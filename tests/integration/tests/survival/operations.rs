//! Every command of `docs/operations.md`, from top to bottom, in servers of its own.
//!
//! What stands after a fence says how a block is run:
//!
//! - `sql`: by a superuser, in a session of its own; `error=SQLSTATE`: it must fail so;
//! - `sh`: by bash, in an empty folder, with what a DBA has in his environment;
//! - `conf`: its lines are added to `postgresql.conf`;
//! - `norun`: not at all, because it installs into the system, as root;
//! - `restart`, `standby`: by what the tests have for it: the server is started again, a standby made;
//! - `on=standby`, `on=subscriber`: in that server;
//! - `eventually`: again and again until it succeeds;
//! - `cron`: only where pg_cron is installed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use postgres::Client;
use teller_tests::{Block, Server, Statements, blocks, repository};

use crate::wait_until;

const DATABASE: &str = "bank";
const PAGE: &str = "docs/operations.md";

struct Site {
    primary: Server,
    standby: Option<Server>,
    subscriber: Option<Server>,
    work: PathBuf,
    has_cron: bool,
}

impl Site {
    fn new() -> Self {
        let primary = Server::start();
        let mut root = primary.connect("postgres", "postgres");
        root.run(&format!("CREATE DATABASE {DATABASE}"));
        primary.load_demo(DATABASE);
        let has_cron: bool = root
            .value("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron')");
        if !has_cron {
            // Straight to standard error: the harness keeps what eprintln! says of a passed test.
            let _ = writeln!(std::io::stderr(), "skipped in {PAGE}: there is no pg_cron");
        }
        let work = PathBuf::from(primary.folder()).join("work");
        fs::create_dir(&work).unwrap();
        Self { primary, standby: None, subscriber: None, work, has_cron }
    }

    fn run(&mut self, block: &Block) -> Result<(), String> {
        if block.has("norun") || block.has("cron") && !self.has_cron {
            return Ok(());
        }
        if block.has("restart") {
            self.primary.restart();
            return Ok(());
        }
        if block.has("standby") {
            self.standby = Some(Server::standby_of(&self.primary));
            return Ok(());
        }
        match block.language() {
            "conf" => self.configure(&block.text),
            "sql" => self.sql(block),
            "sh" => self.shell(block),
            other => Err(format!("nobody runs `{other}`")),
        }
    }

    fn server(&mut self, block: &Block) -> &Server {
        match block.value("on") {
            Some("standby") => self.standby.as_ref().expect("the page has made a standby"),
            Some("subscriber") => self.subscriber.get_or_insert_with(|| {
                let server = Server::start();
                let create = format!("CREATE DATABASE {DATABASE}");
                server.connect("postgres", "postgres").run(&create);
                server
            }),
            _ => &self.primary,
        }
    }

    fn configure(&self, lines: &str) -> Result<(), String> {
        let path = PathBuf::from(self.primary.folder()).join("data/postgresql.conf");
        let mut file = OpenOptions::new().append(true).open(path).map_err(|e| e.to_string())?;
        file.write_all(lines.as_bytes()).map_err(|e| e.to_string())
    }

    fn sql(&mut self, block: &Block) -> Result<(), String> {
        // The servers of the tests have no names.
        let sql = block.text.replace("host=primary", &format!("host={}", self.primary.folder()));
        let result = self.server(block).connect(DATABASE, "postgres").simple_query(&sql);
        let state = result.as_ref().err().and_then(postgres::Error::code).map(|s| s.code());
        match (block.value("error"), &result) {
            (None, Ok(_)) => Ok(()),
            (None, Err(error)) => Err(format!("{error} {:?}", error.as_db_error())),
            (Some(expected), _) if state == Some(expected) => Ok(()),
            (Some(expected), _) => Err(format!("not {expected}, but {result:?}")),
        }
    }

    fn shell(&mut self, block: &Block) -> Result<(), String> {
        let server = self.server(block);
        let psql = PathBuf::from(server.program("psql").get_program());
        let programs = psql.parent().unwrap().to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&path)));
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block.text])
            .current_dir(&self.work)
            .env("PATH", path.unwrap())
            .env("PGHOST", self.server(block).folder())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", DATABASE)
            .env("PSQLRC", "/dev/null")
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        if block.text.contains("cron.schedule") {
            self.wait_for_the_job();
        }
        Ok(())
    }

    /// Brings the job's time forward, and waits until it has run.
    fn wait_for_the_job(&self) {
        let mut client = self.primary.connect("postgres", "postgres");
        client.run("SELECT cron.alter_job(jobid, schedule => '* * * * *') FROM cron.job");
        let ended = "SELECT max(concat_ws(' ', status, username, return_message))
            FROM cron.job_run_details WHERE status IN ('succeeded', 'failed')";
        let start = Instant::now();
        let outcome = loop {
            if let Some(outcome) = client.value::<Option<String>>(ended) {
                break outcome;
            }
            assert!(start.elapsed() < Duration::from_secs(150), "the job did not run");
            std::thread::sleep(Duration::from_millis(200));
        };
        assert_eq!(outcome, "succeeded retrainer CALL");
        client.run("SELECT cron.alter_job(jobid, active => false) FROM cron.job");
        let trained: String = self.primary.connect(DATABASE, "postgres").value(
            "SELECT concat_ws(' ', status, trained_by) FROM teller.model_versions
             WHERE model = 'models.next_offer'::regclass ORDER BY version DESC LIMIT 1",
        );
        assert_eq!(trained, "candidate retrainer");
    }
}

fn page() -> Vec<Block> {
    blocks(&fs::read_to_string(repository().join(PAGE)).unwrap())
}

#[test]
fn every_command_of_the_handbook_runs() {
    let mut site = Site::new();
    for block in page() {
        let at = format!("{PAGE}:{}", block.line);
        if block.has("eventually") {
            wait_until(&at, || site.run(&block).is_ok());
        } else if let Err(error) = site.run(&block) {
            panic!("{at}: {error}\n{}", block.text);
        }
    }
}

/// The one table of all settings is as the library declares them.
#[test]
fn the_handbook_has_every_setting_as_it_is() {
    let server = Server::start();
    let mut client = server.connect("with_extension", "postgres");
    client.run("LOAD 'pg_teller'");
    let names: Vec<String> =
        client.column("SELECT name FROM pg_settings WHERE name LIKE 'teller.%' ORDER BY name");
    let text = fs::read_to_string(repository().join(PAGE)).unwrap();
    for name in &names {
        let row = row(&mut client, name);
        assert!(text.contains(&row), "{PAGE} lacks\n{row}");
        assert!(text.matches(&format!("\n| `{name}` |")).count() == 2, "{name} is not described");
    }
    let rows = text.matches("\n| `teller.").count();
    assert_eq!(rows, 2 * names.len(), "{PAGE} has settings that do not exist");
}

/// A line of the table: name, unit, default, range, who may set it.
fn row(client: &mut Client, name: &str) -> String {
    let setting = client
        .query_one(
            "SELECT coalesce(unit, ''), vartype, min_val, max_val, context, current_setting(name),
                    array_to_string(enumvals, ', ')
             FROM pg_settings WHERE name = $1",
            &[&name],
        )
        .unwrap();
    let text = |column| setting.get::<_, Option<String>>(column).unwrap_or_default();
    let mut shown = |value: String| -> String {
        client.run(&format!("SET {name} = '{value}'"));
        client.value(&format!("SELECT current_setting('{name}')"))
    };
    let quoted = |text: String| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let (unit, default, range) = match &*text(1) {
        "string" => (String::new(), quoted(text(5)), "a model".to_owned()),
        "enum" => (String::new(), quoted(text(5)), text(6)),
        _ => {
            let pixels = name == "teller.max_image_pixels";
            let unit = if pixels { "pixels".to_owned() } else { text(0) };
            (unit, text(5), format!("{} to {}", shown(text(2)), shown(text(3))))
        }
    };
    let by = match text(4).as_str() {
        "user" => "anyone",
        "superuser" => "superusers",
        other => panic!("{name} is set by {other}"),
    };
    let cells = [format!("`{name}`"), unit, default, range, by.to_owned()];
    let cells =
        cells.map(|cell| if cell.is_empty() { " ".to_owned() } else { format!(" {cell} ") });
    format!("|{}|", cells.join("|"))
}
