//! Witnesses: others that cosign checkpoints by C2SP tlog-witness, after they verified that the log only grew. A log cannot show two versions to
//! people who ask for their cosignatures.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::VerifyingKey;
use reqwest::{StatusCode, Url};
use tlog_tiles::Hash;

use crate::{Error, checkpoint::Checkpoint, cloud, key, proof::lines, reader::Reader};

/// How long a witness may take. A publication waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The type of the keys of witnesses, by C2SP tlog-cosignature.
const COSIGNATURE: u8 = 4;
/// The longest answer that is read.
const MAX_ANSWER: usize = 64 << 10;

/// The public key of a witness: `name+id+base64`, of the type cosignature/v1.
#[derive(Clone, Debug)]
pub struct WitnessKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl WitnessKey {
    /// Reads the text of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a text that is no such key.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parse = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
            let bytes = BASE64_STANDARD.decode(encoded).ok()?;
            let (kind, key) = bytes.split_first()?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
            let found = signed_note::key_id(name, &bytes);
            (*kind == COSIGNATURE && format!("{found:08x}") == id && signed_note::is_key_name_valid(name)).then(|| Self {
                name: name.to_owned(),
                id: found,
                key,
            })
        };
        parse().ok_or_else(|| {
            Error::Invalid(format!(
                "'{}' is no key of a witness: it must be name+id+base64 of the type cosignature/v1",
                text.escape_debug()
            ))
        })
    }

    /// Returns when this witness cosigned the checkpoint, in seconds since 1970, or `None` if it did not.
    #[must_use]
    pub fn cosigned(&self, checkpoint: &Checkpoint) -> Option<u64> {
        let (body, signatures) = checkpoint.text().rsplit_once("\n\n")?;
        signatures.lines().find_map(|line| self.check(&format!("{body}\n"), line))
    }

    fn check(&self, body: &str, line: &str) -> Option<u64> {
        let signature = signed_note::Signature::from_bytes(line.as_bytes()).ok()?;
        if signature.name() != self.name || signature.id() != self.id {
            return None;
        }
        key::timed(&self.key, body, signature.signature())
    }
}

/// A witness that is asked for a cosignature of every checkpoint before it is published.
#[derive(Clone, Debug)]
pub struct Witness {
    client: reqwest::Client,
    url: Url,
    key: WitnessKey,
    /// The size that the witness cosigned last, as far as known.
    size: u64,
}

/// What a witness says.
enum Answer {
    /// Signature lines.
    Cosigned(String),
    /// It cosigned this size last.
    Seen(u64),
}

impl Witness {
    /// A witness by the URL prefix of its `add-checkpoint` and its key. `certificates` is a file in PEM with authorities that are trusted in addition to
    /// the public ones.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a URL or key that cannot be used.
    pub fn new(url: &str, key: &str, certificates: Option<&str>) -> Result<Self, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("the witness '{url}' cannot be used: {error}"));
        let parsed = Url::parse(&format!("{}/add-checkpoint", url.trim_end_matches('/'))).map_err(|error| invalid(&error))?;
        let client = cloud::client(certificates, parsed.scheme() == "http").map_err(|error| invalid(&error))?;
        Ok(Self { client, url: parsed, key: WitnessKey::parse(key)?, size: 0 })
    }

    /// Returns the name of the witness.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Returns the lines of its cosignature, or why there are none.
    pub(crate) async fn cosign(&mut self, reader: &Reader) -> Result<String, String> {
        let size = reader.size();
        // Twice: the witness may have cosigned more than this process knows.
        for _ in 0..2 {
            if self.size > size {
                return Err(format!("it cosigned {} entries of this log, which has {size}: the log was cut off", self.size));
            }
            let proof = reader.consistency(self.size).await.map_err(|error| error.to_string())?;
            match self.ask(reader.checkpoint(), self.size, &proof).await? {
                Answer::Cosigned(lines) => {
                    self.size = size;
                    return Ok(lines);
                }
                Answer::Seen(seen) if seen == self.size => return Err("it has another version of this log".to_owned()),
                Answer::Seen(seen) => self.size = seen,
            }
        }
        Err("the size that it cosigned changes at the same time".to_owned())
    }

    /// Asks for a cosignature, with the proof that the checkpoint continues `old` entries.
    async fn ask(&self, checkpoint: &Checkpoint, old: u64, proof: &[Hash]) -> Result<Answer, String> {
        let proof = lines(proof);
        let body = format!("old {old}\n{proof}\n{}", checkpoint.text());
        let mut response =
            self.client.post(self.url.clone()).timeout(TIMEOUT).body(body).send().await.map_err(|error| error.without_url().to_string())?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            answer.extend_from_slice(&chunk);
            if answer.len() > MAX_ANSWER {
                return Err("its answer is too long".to_owned());
            }
        }
        let answer = String::from_utf8(answer).map_err(|_| "its answer is no text".to_owned())?;
        match status {
            StatusCode::OK => {
                let (text, _) = checkpoint.text().rsplit_once("\n\n").ok_or("the checkpoint has no signature")?;
                let lines: String = answer
                    .lines()
                    .filter(|line| self.key.check(&format!("{text}\n"), line).is_some())
                    .flat_map(|line| [line, "\n"])
                    .collect();
                if lines.is_empty() { Err("its answer has no signature of its key".to_owned()) } else { Ok(Answer::Cosigned(lines)) }
            }
            StatusCode::CONFLICT => answer.trim().parse().map(Answer::Seen).map_err(|_| "it has another version of this log".to_owned()),
            status => Err(format!("it answers {status}: {}", answer.trim().chars().take(200).collect::<String>().escape_debug())),
        }
    }
}
