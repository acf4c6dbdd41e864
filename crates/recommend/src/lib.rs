//! Recommenders: interactions in, factors and answers out. Training runs on the ambient rayon
//! pool and gives the same bits for any number of threads; a [`Recommender`] answers on the
//! calling thread alone.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use teller_numeric::{Options, Uninterrupted};
//! use teller_payload::SharedBytes;
//! use teller_recommend::{Dataset, IdRef, InteractionsBuilder, Recommender, Request, read_algorithm};
//!
//! let mut builder = InteractionsBuilder::new(1 << 30);
//! for (user, item) in [(1, "card"), (1, "loan"), (2, "card"), (2, "loan"), (3, "card")] {
//!     builder.push(IdRef::Integer(user), IdRef::Text(item), 1.0)?;
//! }
//! let data = Dataset::from(builder.finish(&Uninterrupted)?);
//! let given = serde_json::json!({"factors": 2});
//! let mut options = Options::new("recommendation", &given)?;
//! let algorithm = read_algorithm(&mut options)?;
//! options.finish()?;
//! let fitted = algorithm.fit(&data, None, &Uninterrupted)?;
//!
//! let parts: BTreeMap<String, SharedBytes> = fitted
//!     .parts
//!     .into_iter()
//!     .map(|(name, bytes)| (name.into_owned(), bytes as SharedBytes))
//!     .collect();
//! let recommender = Recommender::load(&parts)?;
//! let user = recommender.user_index(IdRef::Integer(3));
//! let request = Request { user, k: 10, candidates: None, include_seen: false };
//! let best = recommender.recommend(&request, &Uninterrupted)?;
//! assert_eq!(best.len(), 1);
//! assert_eq!(recommender.item_id(best[0].0), Some(IdRef::Text("loan")));
//! # Ok::<(), teller_recommend::Error>(())
//! ```

mod algorithm;
mod csr;
mod dataset;
mod dense;
mod error;
mod features;
mod fitted;
mod fold_in;
mod graph;
mod ids;
mod index;
mod interactions;
pub mod metrics;
mod recommender;
mod selection;
mod symmetric;
mod top_k;
mod vectors;

pub use algorithm::als::{AlsParams, Solver};
pub use algorithm::biased_mf::BiasedMfParams;
pub use algorithm::content::ContentParams;
pub use algorithm::ease::EaseParams;
pub use algorithm::item_knn::{ItemKnnParams, Similarity};
pub use algorithm::knowledge_graph::embedding::TripleModel;
pub use algorithm::knowledge_graph::{GraphEmbedding, KnowledgeGraphParams};
pub use algorithm::popular::PopularParams;
pub use algorithm::svd::SvdParams;
pub use algorithm::weighting::Weighting;
pub use algorithm::{Algorithm, ItemColumns, Size, Takes, memory_needed, read as read_algorithm};
pub use csr::Csr;
pub use dataset::{Dataset, DatasetBuilder};
pub use error::Error;
pub use features::{FeatureKind, ItemFeatures, ItemFeaturesBuilder};
pub use fitted::{FittedRecommender, Part};
pub use graph::{Graph, GraphBuilder};
pub use ids::{IdRef, Ids, IdsView};
pub use index::item_index;
pub use interactions::{Interactions, InteractionsBuilder};
pub use metrics::evaluate;
pub use recommender::{Because, Place, Reason, Recommender, Request};
pub use selection::read as read_training;
pub use top_k::TopK;
