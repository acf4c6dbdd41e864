use std::cell::OnceCell;

use postgres::Client;
use teller_tests::{Database, Server, Statements, external, load_mnist};

use crate::timing::milliseconds;

/// A server, a database with the extension, and the models that are measured, made when first
/// asked for.
pub(crate) struct Models {
    database: Database<'static>,
    large: OnceCell<()>,
    mnist: OnceCell<bool>,
}

impl Models {
    /// A server with room for many connections, and the demo's scans in its database.
    pub(crate) fn new() -> Self {
        let database = Database::new();
        let models = Self { database, large: OnceCell::new(), mnist: OnceCell::new() };
        models.database.load_demo();
        models.connect().run("ALTER SYSTEM SET max_connections = 200");
        models.restart();
        models
    }

    /// The database's name.
    pub(crate) fn name(&self) -> &str {
        self.database.name()
    }

    /// A new session.
    pub(crate) fn connect(&self) -> Client {
        self.database.connect()
    }

    /// The table `mnist (id, label, image)` of 60,000 scans of digits; whether its file is there.
    pub(crate) fn mnist(&self) -> bool {
        *self.mnist.get_or_init(|| {
            let file = external("mnist_train.tsv.gz");
            file.inspect(|file| load_mnist(&mut self.connect(), file)).is_some()
        })
    }

    /// Restarts the server; all sessions end.
    pub(crate) fn restart(&self) {
        Server::shared().restart();
    }

    /// The recommender `large` of 1,000,000 items x 64 factors, 256 MB, with its shared file in
    /// place.
    pub(crate) fn large_recommender(&self) {
        self.large.get_or_init(|| {
            let mut client = self.connect();
            client.run(
                "CREATE TABLE purchases AS
                     SELECT (i % 10000)::bigint AS user_id, i::bigint AS item_id
                     FROM generate_series(1, 1000000) i",
            );
            client.run("SET teller.max_training_memory = '16GB'");
            client.run(
                r#"SELECT teller.train('large', 'recommendation',
                       'SELECT user_id, item_id FROM purchases',
                       '{"algorithm": "als", "factors": 64, "iterations": 1}')"#,
            );
            client.run("CHECKPOINT");
            milliseconds(&mut self.connect(), &large_top(None));
        });
    }
}

/// The best item of [`Models::large_recommender`] for a user, of these candidates or of all.
pub(crate) fn large_top(candidates: Option<&str>) -> String {
    let candidates = candidates.map_or(String::new(), |array| format!(", candidates => {array}"));
    format!("SELECT * FROM teller.recommend(5, 1, 'large'{candidates})")
}
