use postgres::error::{DbError, SqlState};
use postgres::types::FromSqlOwned;
use postgres::{Client, SimpleQueryMessage};

/// What tests do with a session.
pub trait Statements {
    /// Runs statements that must succeed.
    fn run(&mut self, sql: &str);

    /// The one value of a statement that must succeed.
    fn value<T: FromSqlOwned>(&mut self, sql: &str) -> T;

    /// The first column of all rows of a statement that must succeed.
    fn column<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T>;

    /// Runs a statement that must fail with this SQLSTATE, and must leave the session usable.
    fn refused(&mut self, sql: &str, state: &SqlState) -> DbError;
}

impl Statements for Client {
    #[track_caller]
    fn run(&mut self, sql: &str) {
        self.simple_query(sql).unwrap_or_else(|error| panic!("{sql}\n{}", shown(&error)));
    }

    #[track_caller]
    fn value<T: FromSqlOwned>(&mut self, sql: &str) -> T {
        let row = self.query_one(sql, &[]);
        row.unwrap_or_else(|error| panic!("{sql}\n{}", shown(&error))).get(0)
    }

    #[track_caller]
    fn column<T: FromSqlOwned>(&mut self, sql: &str) -> Vec<T> {
        let rows = self.query(sql, &[]);
        let rows = rows.unwrap_or_else(|error| panic!("{sql}\n{}", shown(&error)));
        rows.iter().map(|row| row.get(0)).collect()
    }

    #[track_caller]
    fn refused(&mut self, sql: &str, state: &SqlState) -> DbError {
        let error = match self.simple_query(sql) {
            Ok(messages) => {
                let rows =
                    messages.iter().filter(|m| matches!(m, SimpleQueryMessage::Row(_))).count();
                panic!("{sql}\nsucceeded with {rows} rows, expected SQLSTATE {}", state.code());
            }
            Err(error) => error,
        };
        let error = error
            .as_db_error()
            .unwrap_or_else(|| panic!("{sql}\nended the session: {error}"))
            .clone();
        assert_eq!(error.code(), state, "{sql}\n{error}");
        if let Err(error) = self.simple_query("SELECT 1") {
            // Inside a transaction block the next statement is refused until the ROLLBACK.
            assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION), "after {sql}");
        }
        error
    }
}

fn shown(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {error}", error.code().code()),
        None => error.to_string(),
    }
}
