//! Every SQL example of the documents is run, so that none of them is wrong.

use std::fs;
use std::path::Path;

use postgres::error::SqlState;
use teller_tests::{Block, Database, Statements, blocks, repository};

fn check(path: &Path) -> usize {
    let mut examples = blocks(&fs::read_to_string(path).unwrap());
    examples.retain(|block| block.language() == "sql");
    if examples.is_empty() {
        return 0;
    }
    let mut client = Database::with_demo().connect();
    for example in &examples {
        let at = format!("{}:{}", path.display(), example.line);
        match (example.value("error"), client.simple_query(&example.text)) {
            (None, Err(error)) => panic!("{at}: {}\n{error:?}", example.text),
            (Some(state), Ok(_)) => panic!("{at}: no error {state}\n{}", example.text),
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
    // Its commands want a server of their own: tests/survival/operations.rs.
    pages.retain(|path| !path.ends_with("operations.md"));
    pages.sort();
    let count: usize = pages.iter().map(|path| check(path)).sum();
    assert!(count > 10, "only {count} examples were found");
}

#[test]
fn an_example_ends_with_its_fence() {
    let found = blocks("a\n```sql\nSELECT 1;\n```\nb\n```\nno\n```\n```sql error=22023\nx\n```\n");
    let shown = |b: &Block| {
        (b.line, b.language().to_owned(), b.value("error").map(str::to_owned), b.text.clone())
    };
    let found: Vec<_> = found.iter().map(shown).collect();
    let expected =
        [(2, "sql", None, "SELECT 1;\n"), (6, "", None, "no\n"), (9, "sql", Some("22023"), "x\n")];
    let expected = expected.map(|(line, language, error, text)| {
        (line, language.to_owned(), error.map(str::to_owned), text.to_owned())
    });
    assert_eq!(found, expected);
}
