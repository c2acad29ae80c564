//! The stream of events, read as server-sent events.

use reqwest::Response;
use serde_json::Value;

use crate::cli::remote::{Api, RemoteError};

/// Events as they come.
pub struct Follow {
    response: Response,
    address: String,
    /// What was read and is no whole block yet.
    rest: Vec<u8>,
}

impl Follow {
    /// # Errors
    /// [`RemoteError`]
    pub async fn start(api: &Api) -> Result<Self, RemoteError> {
        let response = api.stream(&["events", "stream"]).await?;
        Ok(Self { response, address: api.address().to_string(), rest: Vec::new() })
    }

    /// The next event. It may be given up at any time: nothing that was read is lost.
    ///
    /// # Errors
    /// [`RemoteError`]; the stream has ended.
    pub async fn next(&mut self) -> Result<Value, RemoteError> {
        loop {
            while let Some(end) = self.rest.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.rest.drain(..end + 2).collect();
                if let Some(event) = read(&block) {
                    return Ok(event);
                }
            }
            let lost = |why: String| RemoteError::Unreachable { url: self.address.clone(), why };
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.rest.extend_from_slice(&bytes),
                Ok(None) => return Err(lost("it has ended the stream of events".to_owned())),
                Err(error) => return Err(lost(error.without_url().to_string())),
            }
        }
    }
}

/// The event of a block; a block that only says where to resume has none.
fn read(block: &[u8]) -> Option<Value> {
    let data = block.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "))?;
    serde_json::from_slice(data).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_an_event_or_none() {
        let event = read(b"id: led_00_1-0\nevent: commit\ndata: {\"id\":\"led_00_1-0\"}\n\n").unwrap();
        assert_eq!(event["id"], "led_00_1-0");
        assert_eq!(read(b": following\nid: led_00_1-0\n\n"), None);
    }
}
