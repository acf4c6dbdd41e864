//! Other people's engines, each a Python process that measures itself when asked.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// What peers read and write.
pub struct Folder(PathBuf);

impl Folder {
    /// A folder of this name for this bench.
    pub fn new(name: &str) -> Self {
        let folder = Path::new(HERE).join("../../target/tmp/peers").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes an array as raw little-endian numbers.
    pub fn write(&self, name: &str, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.write_bytes(&format!("{name}.f32"), &bytes);
    }

    /// Writes an array as raw little-endian numbers.
    pub fn write_indexes(&self, name: &str, values: &[u32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.write_bytes(&format!("{name}.u32"), &bytes);
    }

    /// Writes a file.
    pub fn write_bytes(&self, file: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(file), bytes).unwrap();
    }

    /// An array that a peer wrote.
    pub fn read(&self, name: &str) -> Vec<f32> {
        self.numbers(&format!("{name}.f32"), f32::from_le_bytes)
    }

    /// An array that a peer wrote.
    pub fn read_indexes(&self, name: &str) -> Vec<u32> {
        self.numbers(&format!("{name}.u32"), u32::from_le_bytes)
    }

    fn numbers<T>(&self, file: &str, read: impl Fn([u8; 4]) -> T) -> Vec<T> {
        let bytes = std::fs::read(self.0.join(file)).unwrap();
        bytes.as_chunks().0.iter().map(|&bytes| read(bytes)).collect()
    }
}

/// A Python process that measures itself when asked; it ends when this is dropped.
pub struct Peer {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `script` of the folder `scripts` in the environment that `scripts/peers.sh` makes, and
    /// waits until it is ready; `None`, with a word why, if it cannot be.
    pub fn start(scripts: &Path, script: &str, threads: usize, folder: &Folder) -> Option<Self> {
        let python = Path::new(HERE).join("../../target/peers/bin/python");
        let said = folder.0.join(format!("{script}.said"));
        let child = Command::new(&python)
            .arg(scripts.join(script))
            .arg(threads.to_string())
            .arg(&folder.0)
            .env("PYTHONPATH", Path::new(HERE).join("peers"))
            // Before libraries read them.
            .envs(
                ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"].map(|name| (name, threads.to_string())),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&said).unwrap())
            .spawn();
        let Ok(mut child) = child else {
            println!("{script}: not compared, there is no {}", python.display());
            return None;
        };
        let from = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { to: child.stdin.take(), child, from };
        if peer.line() != "ready" {
            let said = std::fs::read_to_string(said).unwrap_or_default();
            println!("{script}: not compared, {}", said.lines().last().unwrap_or("it ended"));
            return None;
        }
        Some(peer)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The number with which it answers a request.
    pub fn ask(&mut self, request: &str) -> f64 {
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
