//! Interactions for implicit and NumPy.

use std::path::Path;

use teller_bench::{Folder, Peer};
use teller_recommend::Interactions;

/// Starts the peer.
pub(crate) fn start(threads: usize, folder: &Folder) -> Option<Peer> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/recommend/peers");
    Peer::start(&scripts, "recommend_peer.py", threads, folder)
}

/// Writes a matrix, and asks for it to be read.
pub(crate) fn show(peer: &mut Peer, folder: &Folder, name: &str, data: &Interactions) {
    let matrix = data.by_user();
    let offsets: Vec<u32> = matrix.offsets.iter().map(|&offset| offset as u32).collect();
    folder.write_indexes(&format!("{name}.offsets"), &offsets);
    folder.write_indexes(&format!("{name}.columns"), &matrix.columns);
    folder.write(&format!("{name}.weights"), &matrix.values);
    peer.ask(&format!("interactions {name} {} {}", data.users().len(), data.items().len()));
}
