//! Other people's engines, each a Python process that measures itself when asked.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use teller_nn::{ImageClassifier, ImageDataset};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// What peers read and write.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let target = option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target/tmp");
        let folder = Path::new(target).join("peers").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn write(&self, name: &str, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(self.0.join(format!("{name}.f32")), bytes).unwrap();
    }

    pub(crate) fn write_weights(&self, classifier: &ImageClassifier) {
        classifier.weights().for_each(|array| self.write(&array.name, array.values));
    }

    /// Images as bytes, and the number of each one's label.
    pub(crate) fn write_images(&self, name: &str, data: &ImageDataset) {
        let rasters: Vec<u8> = (0..data.len()).flat_map(|row| data.raster(row).to_vec()).collect();
        let labels: Vec<u8> = data.targets().iter().map(|&label| label as u8).collect();
        std::fs::write(self.0.join(format!("{name}.u8")), rasters).unwrap();
        std::fs::write(self.0.join(format!("{name}.labels")), labels).unwrap();
    }

    /// Ends the bench unless a peer answers as we do: else it would be another network.
    pub(crate) fn compare_answers(&self, ours: &[f32]) {
        let theirs = std::fs::read(self.0.join("answers.f32")).unwrap();
        assert_eq!(theirs.len(), size_of_val(ours), "another number of answers");
        for (ours, theirs) in ours.iter().zip(theirs.chunks_exact(4)) {
            let theirs = f32::from_le_bytes(theirs.try_into().unwrap());
            assert!((ours - theirs).abs() < 1e-4, "{ours} is not {theirs}");
        }
    }
}

pub(crate) struct Peer {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a script in the environment that `scripts/peers.sh` makes, and waits until it is
    /// ready; `None`, with a word why, if it cannot be.
    pub(crate) fn start(script: &str, threads: usize, folder: &Folder) -> Option<Self> {
        let python = Path::new(HERE).join("../../target/peers/bin/python");
        let said = folder.0.join(format!("{script}.said"));
        let child = Command::new(&python)
            .arg(Path::new(HERE).join("benches/engine/peers").join(script))
            .arg(threads.to_string())
            .arg(&folder.0)
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
    pub(crate) fn ask(&mut self, request: &str) -> f64 {
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
