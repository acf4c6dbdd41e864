//! Every SQL example of the documents is run, so that none of them is wrong.

use std::fs;
use std::path::Path;

use postgres::error::SqlState;
use teller_tests::{Database, Statements, repository};

/// A fenced block of SQL.
struct Example {
    line: usize,
    sql: String,
    /// The SQLSTATE that the block promises: ```` ```sql error=22023 ````.
    error: Option<String>,
}

fn examples(text: &str) -> Vec<Example> {
    let mut examples = Vec::new();
    let mut open: Option<Example> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (Some(example), None) => {
                example.sql.push_str(line);
                example.sql.push('\n');
            }
            (Some(_), Some(_)) => examples.extend(open.take()),
            (None, Some(info)) => {
                let mut words = info.split_whitespace();
                if words.next() == Some("sql") {
                    let error = words.find_map(|word| word.strip_prefix("error="));
                    let error = error.map(str::to_owned);
                    open = Some(Example { line: number + 1, sql: String::new(), error });
                }
            }
            (None, None) => {}
        }
    }
    examples
}

fn check(path: &Path) -> usize {
    let examples = examples(&fs::read_to_string(path).unwrap());
    if examples.is_empty() {
        return 0;
    }
    let mut client = Database::with_demo().connect();
    for example in &examples {
        let at = format!("{}:{}", path.display(), example.line);
        match (&example.error, client.simple_query(&example.sql)) {
            (None, Err(error)) => panic!("{at}: {}\n{error:?}", example.sql),
            (Some(state), Ok(_)) => panic!("{at}: no error {state}\n{}", example.sql),
            (Some(state), Err(error)) => {
                assert_eq!(error.code(), Some(&SqlState::from_code(state)), "{at}: {error:?}");
                client.run("SELECT 1");
            }
            (None, Ok(_)) => {}
        }
    }
    examples.len()
}

#[test]
fn examples_run() {
    let root = repository();
    let mut pages = vec![root.join("README.md")];
    pages.extend(fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    let count: usize = pages.iter().map(|path| check(path)).sum();
    assert!(count > 10, "only {count} examples were found");
}

#[test]
fn an_example_ends_with_its_fence() {
    let found =
        examples("a\n```sql\nSELECT 1;\n```\nb\n```\nno\n```\n```sql error=22023\nx\n```\n");
    let found: Vec<_> =
        found.iter().map(|e| (e.line, e.sql.as_str(), e.error.as_deref())).collect();
    assert_eq!(found, [(2, "SELECT 1;\n", None), (9, "x\n", Some("22023"))]);
}
