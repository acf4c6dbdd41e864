//! Several sessions whose steps are taken in every possible order, as PostgreSQL's own isolation
//! tests do.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use postgres::{Client, SimpleQueryMessage};

use crate::{Database, Statements};

/// A step's name and its statements, which go to the server as one message.
pub type Step<'a> = (&'a str, &'a str);

/// Takes the steps of all sessions in every order that keeps each session's own, and tells what
/// came of it, a line for each order: `step=value`, or the SQLSTATE of its error, or `step...`
/// where it waits for another session and `step=value` again when it goes on.
///
/// Orders in which a session would have to go on while it waits are left out. Before each order
/// `reset` is run, and what a step's last row holds in its first column is its value.
pub fn every_order(database: &Database, reset: &str, scripts: &[&[Step]]) -> Vec<String> {
    let mut admin = database.connect();
    let mut sessions: Vec<Session> = scripts.iter().map(|_| Session::open(database)).collect();
    let mut lines = Vec::new();
    for order in orders(&scripts.iter().map(|steps| steps.len()).collect::<Vec<_>>()) {
        admin.run(reset);
        let mut taken = vec![0; scripts.len()];
        let mut line = Vec::new();
        let mut possible = true;
        for index in order {
            let (name, statements) = scripts[index][taken[index]];
            taken[index] += 1;
            if sessions[index].waiting.is_some() {
                possible = false;
                break;
            }
            sessions[index].send(name, statements);
            // First the step itself, then those that it let go on.
            let others = (0..sessions.len()).filter(|other| *other != index);
            for looked_at in std::iter::once(index).chain(others) {
                match sessions[looked_at].outcome(&mut admin) {
                    Some(outcome) => line.push(outcome),
                    None if looked_at == index && sessions[index].waiting.is_some() => {
                        line.push(format!("{name}..."));
                    }
                    None => {}
                }
            }
        }
        // Whoever does not wait goes first, so that the others can.
        sessions.sort_by_key(|session| session.waiting.is_some());
        for session in &mut sessions {
            session.end();
        }
        sessions.sort_by_key(|session| session.number);
        if possible {
            lines.push(line.join(" "));
        }
    }
    lines
}

/// All ways to take `counts[i]` steps of each session `i`.
fn orders(counts: &[usize]) -> Vec<Vec<usize>> {
    if counts.iter().all(|count| *count == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, _) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let mut rest = counts.to_vec();
        rest[index] -= 1;
        for tail in orders(&rest) {
            all.push([&[index][..], &tail].concat());
        }
    }
    all
}

struct Session {
    number: i32,
    statements: Sender<String>,
    outcomes: Receiver<String>,
    /// The step that was sent and has not ended.
    waiting: Option<String>,
}

impl Session {
    fn open(database: &Database) -> Self {
        let mut client = database.connect();
        let number = client.value("SELECT pg_backend_pid()");
        let (statements, received) = channel::<String>();
        let (sender, outcomes) = channel();
        // It ends with the channel.
        std::thread::spawn(move || {
            for statement in received {
                if sender.send(outcome(&mut client, &statement)).is_err() {
                    break;
                }
            }
        });
        Self { number, statements, outcomes, waiting: None }
    }

    fn send(&mut self, name: &str, statements: &str) {
        self.statements.send(statements.to_owned()).expect("the session lives");
        self.waiting = Some(name.to_owned());
    }

    /// What came of the step that was sent; nothing if there is none, or if it waits for another
    /// session.
    fn outcome(&mut self, admin: &mut Client) -> Option<String> {
        let name = self.waiting.clone()?;
        let start = Instant::now();
        loop {
            match self.outcomes.recv_timeout(Duration::from_millis(10)) {
                Ok(value) => {
                    self.waiting = None;
                    return Some(format!("{name}={value}"));
                }
                Err(RecvTimeoutError::Disconnected) => panic!("the session ended at {name}"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let blocked = "SELECT cardinality(pg_blocking_pids($1)) > 0";
            if admin.query_one(blocked, &[&self.number]).unwrap().get(0) {
                return None;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{name} does not end");
        }
    }

    fn end(&mut self) {
        if self.waiting.take().is_some() {
            self.outcomes.recv().expect("the session lives");
        }
        self.statements.send("ROLLBACK".to_owned()).expect("the session lives");
        self.outcomes.recv().expect("the session lives");
    }
}

fn outcome(client: &mut Client, statements: &str) -> String {
    match client.simple_query(statements) {
        Err(error) => match error.code() {
            Some(state) => state.code().to_owned(),
            None => panic!("{statements}\n{error}"),
        },
        Ok(messages) => {
            let row = messages.iter().rev().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                _ => None,
            });
            row.unwrap_or_else(|| "ok".to_owned())
        }
    }
}
