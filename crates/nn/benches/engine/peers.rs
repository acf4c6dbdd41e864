//! Other people's engines, each a Python process that measures itself when asked.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/engine/peers");

/// Where peers and what they read are kept.
pub(crate) fn folder() -> PathBuf {
    let target = option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target/tmp");
    Path::new(target).join("peers")
}

/// The interpreter of an environment that has the peers, which the first call makes.
pub(crate) fn python() -> Option<PathBuf> {
    let environment = folder().join("environment");
    let python = environment.join("bin/python");
    let requirements = Path::new(HERE).join("requirements.txt");
    let marker = environment.join("made");
    if std::fs::read(&marker).ok() == std::fs::read(&requirements).ok() {
        return Some(python);
    }
    println!("Making the peers in {}", environment.display());
    let run = |command: &mut Command| command.status().is_ok_and(|status| status.success());
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        && run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(&requirements));
    if !made || std::fs::copy(&requirements, &marker).is_err() {
        println!("There are no peers to measure against");
        return None;
    }
    Some(python)
}

pub(crate) struct Peer {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a script and waits until it is ready.
    pub(crate) fn start(python: &Path, script: &str, argument: &str) -> Self {
        let mut child = Command::new(python)
            .arg(Path::new(HERE).join(script))
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { to: child.stdin.take(), child, from };
        assert_eq!(peer.line(), "ready", "{script} did not start");
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The seconds that it needed for what `request` says.
    pub(crate) fn measure(&mut self, request: usize) -> f64 {
        writeln!(self.to.as_mut().unwrap(), "{request}").unwrap();
        self.line().parse().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.to.take());
        let _ = self.child.wait();
    }
}
