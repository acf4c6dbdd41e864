use crate::{Interactions, Size};

/// What a recommender is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Who took what.
    pub interactions: Interactions,
}

impl Dataset {
    /// How much there is.
    pub fn size(&self) -> Size {
        let (users, items) = (self.interactions.users(), self.interactions.items());
        Size {
            users: users.len() as u64,
            items: items.len() as u64,
            interactions: self.interactions.len() as u64,
            texts: users.text_bytes() + items.text_bytes(),
        }
    }
}
