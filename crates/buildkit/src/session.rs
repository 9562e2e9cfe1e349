//! The session: over its connection the client answers calls for files, secrets, keys and accounts.
//!
//! **Source:** moby/buildkit, `session`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::v1::{CredentialsRequest, CredentialsResponse};
use bollard_buildkit_proto::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status, Streaming};

use crate::rpc::{self, Channel};

/// How long a build waits for the session that it names.
const WAIT: Duration = Duration::from_secs(10);
/// Messages that wait to be sent.
const QUEUE: usize = 16;
/// Bytes in one message of a stream of bytes.
pub(crate) const CHUNK: usize = 32 << 10;

/// All sessions that are open.
#[derive(Debug, Default)]
pub struct Sessions {
    open: Mutex<BTreeMap<String, Arc<Session>>>,
    changed: watch::Sender<()>,
}

/// The session of one client.
#[derive(Debug)]
pub struct Session {
    methods: BTreeSet<String>,
    pub(crate) channel: Channel,
}

impl Sessions {
    /// Holds a session until its connection ends. `methods` are the calls that the client answers, such as
    /// `/moby.buildkit.secrets.v1.Secrets/GetSecret`.
    ///
    /// # Errors
    /// There is a session of that id, or the client does not speak HTTP/2.
    pub async fn hold<S>(&self, io: S, id: &str, methods: impl Iterator<Item = String>) -> Result<(), Status>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if self.lock().contains_key(id) {
            return Err(Status::already_exists(format!("session {id} already exists")));
        }
        let (channel, connection) = Channel::new(io).await.map_err(|cause| Status::unavailable(cause.to_string()))?;
        let methods = methods.map(|method| method.to_ascii_lowercase()).collect();
        let session = Arc::new(Session { methods, channel });
        self.lock().insert(id.to_owned(), session);
        self.changed.send_replace(());
        // A holder that is dropped ends its session, too.
        let _gone = Gone { sessions: self, id };
        connection.await;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a session; it may be on its way.
    ///
    /// # Errors
    /// It did not come.
    pub async fn get(&self, id: &str) -> Result<Arc<Session>, Status> {
        // What stands before a colon tells uses of one session apart.
        let id = id.split_once(':').map_or(id, |(_, id)| id);
        let mut changed = self.changed.subscribe();
        let found = async {
            loop {
                if let Some(session) = self.lock().get(id).cloned() {
                    return session;
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(WAIT, found).await.map_err(|_| Status::not_found(format!("no active session for {id}")))
    }
}

struct Gone<'a> {
    sessions: &'a Sessions,
    id: &'a str,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.sessions.lock().remove(self.id);
    }
}

impl Session {
    /// Whether the client answers a call.
    #[must_use]
    pub fn answers(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }

    /// A secret; none if the client has none of this name.
    ///
    /// # Errors
    /// The client cannot read it, or has gone.
    pub async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, Status> {
        const PATH: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
        if !self.answers(PATH) {
            return Ok(None);
        }
        let ask = GetSecretRequest { id: id.to_owned(), annotations: std::collections::HashMap::new() };
        match self.channel.unary::<_, GetSecretResponse>(PATH, ask).await {
            Ok(answer) => Ok(Some(answer.data)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Whether the client forwards an agent of ssh keys of this name.
    ///
    /// # Errors
    /// The client has gone.
    pub async fn has_agent(&self, id: &str) -> Result<bool, Status> {
        const PATH: &str = "/moby.sshforward.v1.SSH/CheckAgent";
        if !self.answers(PATH) {
            return Ok(false);
        }
        match self.channel.unary::<_, CheckAgentResponse>(PATH, CheckAgentRequest { id: id.to_owned() }).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::Unavailable => Err(status),
            Err(_) => Ok(false),
        }
    }

    /// Joins a connection with the client's agent until either ends.
    pub async fn agent<S: AsyncRead + AsyncWrite + Send + 'static>(&self, id: &str, connection: S) {
        let (mut from, mut to) = tokio::io::split(connection);
        let (sender, queue) = tokio::sync::mpsc::channel(QUEUE);
        let metadata = metadata(&[("buildkit.ssh.id", vec![id.to_owned()])]);
        let answer = self.channel.streaming("/moby.sshforward.v1.SSH/ForwardAgent", rpc::stream(queue), metadata);
        let outwards = async move {
            let mut buffer = vec![0; CHUNK];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                if sender.send(BytesMessage { data: buffer[..count].to_vec() }).await.is_err() {
                    break;
                }
            }
        };
        let inwards = async move {
            let Ok(mut answer) = answer.await else { return };
            while let Ok(Some(BytesMessage { data })) = answer.message().await {
                if to.write_all(&data).await.is_err() {
                    return;
                }
            }
            // The command may have gone.
            let _ = to.shutdown().await;
        };
        tokio::pin!(inwards);
        tokio::select! {
            () = &mut inwards => {}
            () = outwards => inwards.await,
        }
    }

    /// Name and password of an account at a registry; none where the client has none.
    ///
    /// # Errors
    /// The client cannot read it, or has gone.
    pub async fn account(&self, host: &str) -> Result<Option<(String, String)>, Status> {
        const PATH: &str = "/moby.filesync.v1.Auth/Credentials";
        if !self.answers(PATH) {
            return Ok(None);
        }
        let answer: CredentialsResponse = self.channel.unary(PATH, CredentialsRequest { host: host.to_owned() }).await?;
        Ok((!answer.secret.is_empty()).then_some((answer.username, answer.secret)))
    }

    /// The bytes that the client offers at an address, such as a context that came on its standard input.
    ///
    /// # Errors
    /// The client offers nothing there, or has gone.
    pub async fn upload(&self, host: &str, path: &str) -> Result<Bytes, Status> {
        let metadata = metadata(&[("urlpath", vec![path.to_owned()]), ("urlhost", vec![host.to_owned()])]);
        let (sender, queue) = tokio::sync::mpsc::channel::<BytesMessage>(1);
        let messages = self.channel.streaming("/moby.upload.v1.Upload/Pull", rpc::stream(queue), metadata).await?;
        Ok(Bytes { messages, _open: sender })
    }

    /// Sends pieces of bytes to where the client wants a result. `id` is the number of the exporter.
    ///
    /// # Errors
    /// The client does not take them, or has gone.
    pub async fn send(&self, id: usize, mut pieces: tokio::sync::mpsc::Receiver<Vec<u8>>) -> Result<(), Status> {
        let entries = metadata(&[("buildkit-attachable-exporter-id", vec![id.to_string()])]);
        let (sender, queue) = tokio::sync::mpsc::channel(QUEUE);
        // The client answers when it has all: its first word is awaited beside the sending.
        let answer = self.channel.streaming::<_, BytesMessage, _>("/moby.filesync.v1.FileSend/DiffCopy", rpc::stream(queue), entries);
        let feed = async move {
            while let Some(data) = pieces.recv().await {
                if sender.send(BytesMessage { data }).await.is_err() {
                    break;
                }
            }
        };
        let (answer, ()) = tokio::join!(answer, feed);
        let mut answer = answer?;
        while answer.message().await?.is_some() {}
        Ok(())
    }
}

/// Bytes that a client sends.
#[derive(Debug)]
pub struct Bytes {
    messages: Streaming<BytesMessage>,
    /// The call lasts as long as its asking side is open.
    _open: tokio::sync::mpsc::Sender<BytesMessage>,
}

impl Bytes {
    /// The next ones; none at the end.
    ///
    /// # Errors
    /// The client has gone.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        Ok(self.messages.message().await?.map(|message| message.data))
    }
}

/// Headers of a call. Values that are not ASCII go escaped, with a header that says so.
/// **Source:** moby/buildkit, `session/filesync.encodeOpts`.
pub(crate) fn metadata(entries: &[(&str, Vec<String>)]) -> MetadataMap {
    let mut map = MetadataMap::new();
    for (key, values) in entries {
        let Ok(name) = MetadataKey::from_bytes(key.as_bytes()) else { continue };
        let escaped = values.iter().any(|value| !value.is_ascii() || value.bytes().any(|byte| byte.is_ascii_control()));
        for value in values {
            let value = if escaped { escape(value) } else { value.clone() };
            if let Ok(value) = MetadataValue::try_from(value) {
                map.append(name.clone(), value);
            }
        }
        if let (true, Ok(mark)) = (escaped, MetadataKey::from_bytes(format!("{key}-encoded").as_bytes())) {
            map.insert(mark, MetadataValue::from_static("1"));
        }
    }
    map
}

/// Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_not_ascii_are_escaped_and_marked() {
        let map = metadata(&[("followpaths", vec!["a b".to_owned(), "ü".to_owned()]), ("dir-name", vec!["context".to_owned()])]);
        let all: Vec<_> = map.get_all("followpaths").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
        assert_eq!(all, ["a+b", "%C3%BC"]);
        assert_eq!(map.get("followpaths-encoded").unwrap(), "1");
        assert_eq!(map.get("dir-name").unwrap(), "context");
        assert!(map.get("dir-name-encoded").is_none());
    }
}
