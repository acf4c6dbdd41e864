use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};

use postgres::error::DbError;
use postgres::{Client, NoTls};

use crate::Server;

/// A fresh database of one test. It goes with its server.
pub struct Database<'s> {
    server: &'s Server,
    name: String,
}

impl Database<'static> {
    /// A database with the extension in the shared server.
    pub fn new() -> Self {
        Self::on(Server::shared())
    }

    /// A database without the extension in the shared server.
    pub fn empty() -> Self {
        Self::copy(Server::shared(), "template1")
    }

    /// A database with the extension and the demo's tables: `demo.scans`, `demo.customers`,
    /// `demo.products`, `demo.purchases`.
    pub fn with_demo() -> Self {
        let database = Self::new();
        database.load_demo();
        database
    }
}

impl Default for Database<'static> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'s> Database<'s> {
    /// A database with the extension in `server`.
    pub fn on(server: &'s Server) -> Self {
        Self::copy(server, "with_extension")
    }

    fn copy(server: &'s Server, template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server
            .connect("postgres", "postgres")
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .unwrap();
        Self { server, name }
    }

    /// A session of the superuser.
    pub fn connect(&self) -> Client {
        self.server.connect(&self.name, "postgres")
    }

    /// A session of the superuser, and what the server tells it besides results.
    pub fn connect_listening(&self) -> (Client, Receiver<DbError>) {
        let (sender, receiver) = channel();
        // The test may have stopped listening; the session goes on.
        let listen = move |notice| drop(sender.send(notice));
        let mut config = self.server.config(&self.name, "postgres");
        let client = config.notice_callback(listen).connect(NoTls).expect("the server answers");
        (client, receiver)
    }

    /// A session of a role without any privilege, made for this database.
    ///
    /// It may create tables in a schema of its own name, which is first in its search path.
    pub fn connect_as(&self, role: &str) -> Client {
        let role = self.role(role);
        let mut root = self.connect();
        let known = root.query("SELECT FROM pg_roles WHERE rolname = $1", &[&role]).unwrap();
        if known.is_empty() {
            root.batch_execute(&format!(
                "CREATE ROLE {role} LOGIN; CREATE SCHEMA AUTHORIZATION {role}"
            ))
            .unwrap();
        }
        self.server.connect(&self.name, &role)
    }

    /// The full name of a role of this database: roles belong to the whole server.
    pub fn role(&self, role: &str) -> String {
        format!("{}_{role}", self.name)
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the demo's tables, as [`Database::with_demo`] does.
    pub fn load_demo(&self) {
        self.server.load_demo(&self.name);
    }
}
