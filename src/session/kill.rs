//! KILL by the id in our greeting. Drivers cancel with it; Dolt knows the backend by another number.
//! Always: an id that is not one of ours goes to Dolt as it is.

use std::ops::Range;
use std::sync::Arc;

use super::routed::Session;
use crate::clients::{CLIENT_ID_MIN, Client};

/// What a KILL becomes.
#[derive(Debug)]
pub struct Kill {
    /// The text to send, if the id was one of ours.
    pub text: Option<Vec<u8>>,
    /// Whose session ends when Dolt has agreed.
    pub ends: Option<Arc<Client>>,
}

impl Session {
    /// Translates the id at `span` of `text`.
    pub fn translate_kill(&self, text: &[u8], id: u64, query_only: bool, span: Range<usize>) -> Kill {
        let clients = &self.context.clients;
        let number = u32::try_from(id).unwrap_or(u32::MAX);
        if number < CLIENT_ID_MIN {
            let ends = if query_only { None } else { clients.by_backend(number) };
            return Kill { text: None, ends };
        }
        // Dolt does not mind an id that it does not know, and its own never come near ours.
        let Some(target) = clients.get(number) else { return Kill { text: None, ends: None } };
        let text = target.view().backend_id.map(|backend| {
            let mut translated = text[..span.start].to_vec();
            translated.extend_from_slice(backend.to_string().as_bytes());
            translated.extend_from_slice(&text[span.end..]);
            translated
        });
        Kill { text, ends: (!query_only).then_some(target) }
    }
}
