//! The keys of a log: Ed25519, as text in the format of C2SP signed-note. The name of a key is the origin of the log.
//!
//! A log is rotated to a new key by signing with both for a time: put both private keys into the folder, give the new public key to all
//! readers, and then remove the old private key.

use std::{fmt, fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use signed_note::{StandardSigner, StandardVerifier, Verifier};

use crate::Error;

/// The largest file that can have keys.
const MAX_FILE: u64 = 64 << 10;
/// The first line of what a timed signature signs, by C2SP tlog-cosignature.
const COSIGNATURE: &str = "cosignature/v1";
/// The type of a key for timed signatures, which is part of its id.
const TIMED: u8 = 4;
const ED25519: u8 = 1;
const OPAQUE: u8 = 255;

/// A new pair of keys, as text.
#[derive(Clone)]
pub struct KeyPair {
    /// The private key: `PRIVATE+KEY+name+id+base64`.
    pub signer: String,
    /// The public key: `name+id+base64`.
    pub verifier: String,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyPair({})", self.verifier)
    }
}

/// Generates a pair of keys for the log with this origin, such as `record.example.com/cluster-1`.
///
/// # Errors
///
/// [`Error::Invalid`] for an origin that is empty or has a blank or a plus sign; [`Error::Retry`] if the system has no random numbers.
pub fn generate(origin: &str) -> Result<KeyPair, Error> {
    check_name(origin)?;
    let secret: [u8; 32] = random()?;
    let key = SigningKey::from_bytes(&secret);
    let verifier = signed_note::new_ed25519_verifier_key(origin, &key.verifying_key());
    let id = verifier.split('+').nth(1).unwrap_or_default();
    let signer = format!("PRIVATE+KEY+{origin}+{id}+{}", BASE64_STANDARD.encode([&[ED25519], key.as_bytes().as_slice()].concat()));
    Ok(KeyPair { signer, verifier })
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).map_err(|_| Error::Retry {
        operation: "generating a key".to_owned(),
        reason: "the system returned no random numbers".to_owned(),
    })?;
    Ok(bytes)
}

/// Returns a line that makes the checkpoints of one writer differ from those of every other writer, also of the same tree, time and key. For other
/// readers it is a signature of an unknown type, which they must ignore.
pub(crate) fn writer_line(origin: &str) -> Result<String, Error> {
    let id: [u8; 16] = random()?;
    let line = signed_note::Signature::new(origin.to_owned(), writer_key_id(origin), id.to_vec());
    let line = line.map_err(|error| Error::Invalid(format!("the origin '{}' cannot be used: {error}", origin.escape_debug())))?;
    Ok(String::from_utf8_lossy(&line.to_bytes()).into_owned())
}

/// The id of the key in such a line, of the type for uses that C2SP does not define.
pub(crate) fn writer_key_id(origin: &str) -> u32 {
    signed_note::key_id(origin, &[&[OPAQUE], b"jit-rbac-record/writer/v1".as_slice()].concat())
}

fn check_name(name: &str) -> Result<(), Error> {
    // A line with a control character is no line of a note.
    if signed_note::is_key_name_valid(name) && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "'{}' cannot be the origin of a log: it must not be empty or have blanks or plus signs",
            name.escape_debug()
        )))
    }
}

/// The private keys that sign the checkpoints of one log.
#[derive(Clone)]
pub struct Signers {
    keys: Vec<SignerKey>,
    trusted: Trusted,
}

#[derive(Clone)]
struct SignerKey {
    standard: StandardSigner,
    timed: SigningKey,
    timed_id: u32,
}

impl fmt::Debug for Signers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Signers({:?})", self.trusted)
    }
}

impl Signers {
    /// Returns the signers of private keys as text. All must have the same name, which is the origin of the log.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there is none, if one is malformed, or if their names differ. No message contains a key.
    pub fn from_texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let mut keys = Vec::new();
        let mut trusted = Vec::new();
        for text in texts {
            let (key, public) = SignerKey::parse(text.as_ref().trim())?;
            keys.push(key);
            trusted.push(public);
        }
        let trusted = Trusted::new(trusted)?;
        Ok(Self { keys, trusted })
    }

    /// Returns the signers in the files of a folder, such as a mounted Secret, in the order of the files' names. Lines that are no private keys
    /// are skipped, and so are files whose names start with a dot.
    ///
    /// # Errors
    ///
    /// As [`Signers::from_texts`], and for a folder that cannot be read.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let lines = lines(folder)?;
        let private: Vec<_> = lines.iter().filter(|line| line.starts_with("PRIVATE+KEY+")).collect();
        if private.is_empty() {
            return Err(Error::Invalid(format!(
                "the folder '{}' has no private key: a line that starts with PRIVATE+KEY+",
                folder.display()
            )));
        }
        Self::from_texts(private)
    }

    /// Returns the origin of the log, which is the name of the keys.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.trusted.origin()
    }

    /// Returns the public keys of these.
    #[must_use]
    pub const fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Returns the lines with signatures below a text: one by each key, and one by each that has the time in it.
    pub(crate) fn sign(&self, text: &str, seconds: u64) -> Result<String, Error> {
        let invalid = |error: &dyn fmt::Display| Error::Invalid(format!("the checkpoint cannot be signed: {error}"));
        let mut signatures = Vec::new();
        for key in &self.keys {
            use signed_note::Signer as _;
            let name = self.origin().to_owned();
            let signature = key.standard.sign(text.as_bytes()).map_err(|error| invalid(&error))?;
            signatures.push(signed_note::Signature::new(name.clone(), key.standard.key_id(), signature).map_err(|error| invalid(&error))?);
            let timed = [seconds.to_be_bytes().as_slice(), &key.timed.sign(timed_message(text, seconds).as_bytes()).to_bytes()].concat();
            signatures.push(signed_note::Signature::new(name, key.timed_id, timed).map_err(|error| invalid(&error))?);
        }
        let lines: Vec<u8> = signatures.iter().flat_map(signed_note::Signature::to_bytes).collect();
        String::from_utf8(lines).map_err(|error| invalid(&error))
    }
}

impl SignerKey {
    fn parse(text: &str) -> Result<(Self, PublicKey), Error> {
        let malformed = || Error::Invalid("a private key is malformed: it must be PRIVATE+KEY+name+id+base64, an Ed25519 key".to_owned());
        let standard = StandardSigner::new(text).map_err(|_| malformed())?;
        let bytes = text
            .rsplit('+')
            .next()
            .and_then(|_| text.splitn(5, '+').nth(4))
            .and_then(|key| BASE64_STANDARD.decode(key).ok())
            .ok_or_else(malformed)?;
        let secret: [u8; 32] = bytes.get(1..).and_then(|key| key.try_into().ok()).ok_or_else(malformed)?;
        let timed = SigningKey::from_bytes(&secret);
        let name = signed_note::Signer::name(&standard).to_owned();
        let public = PublicKey::parse(&signed_note::new_ed25519_verifier_key(&name, &timed.verifying_key()))?;
        Ok((Self { standard, timed_id: public.timed_id, timed }, public))
    }
}

/// The public keys whose checkpoints a reader accepts: those of one log.
#[derive(Clone)]
pub struct Trusted {
    origin: String,
    keys: Vec<PublicKey>,
}

#[derive(Clone)]
struct PublicKey {
    name: String,
    text: String,
    id: u32,
    timed_id: u32,
    key: VerifyingKey,
}

impl fmt::Debug for Trusted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.texts().collect::<Vec<_>>().join(", "))
    }
}

impl Trusted {
    fn new(keys: Vec<PublicKey>) -> Result<Self, Error> {
        let Some(origin) = keys.first().map(|key| key.name.clone()) else {
            return Err(Error::Invalid("there is no key".to_owned()));
        };
        match keys.iter().find(|key| key.name != origin) {
            Some(other) => Err(Error::Invalid(format!("the keys '{origin}' and '{}' are of different logs", other.name))),
            None => Ok(Self { origin, keys }),
        }
    }

    /// Returns the public keys of texts of the form `name+id+base64`. All must have the same name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] if there is none, if one is malformed, or if their names differ.
    pub fn from_texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        Self::new(texts.into_iter().map(|text| PublicKey::parse(text.as_ref().trim())).collect::<Result<_, _>>()?)
    }

    /// Returns the public keys in the files of a folder, one a line. Private keys there count as their public keys.
    ///
    /// # Errors
    ///
    /// As [`Trusted::from_texts`], and for a folder that cannot be read.
    pub fn from_folder(folder: &Path) -> Result<Self, Error> {
        let parse = |line: &String| {
            if line.starts_with("PRIVATE+KEY+") { SignerKey::parse(line).map(|(_, public)| public) } else { PublicKey::parse(line) }
        };
        let mut keys: Vec<PublicKey> = Vec::new();
        for line in &lines(folder)? {
            let key = parse(line)?;
            if !keys.iter().any(|known| known.text == key.text) {
                keys.push(key);
            }
        }
        Self::new(keys)
    }

    /// Returns the origin of the log, which is the name of the keys.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the keys as text.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.text.as_str())
    }

    /// Verifies a signature on a text. `None`: the key is not one of these.
    pub(crate) fn check(&self, text: &str, signature: &signed_note::Signature) -> Option<bool> {
        let key = self.keys.iter().find(|key| key.name == signature.name() && key.id == signature.id())?;
        Some(verify(&key.key, text.as_bytes(), signature.signature()))
    }

    /// Verifies a signature that has a time. `None`: the key is not one of these.
    pub(crate) fn check_timed(&self, text: &str, signature: &signed_note::Signature) -> Option<Timed> {
        let key = self.keys.iter().find(|key| key.name == signature.name() && key.timed_id == signature.id())?;
        Some(timed(&key.key, text, signature.signature()).map_or(Timed::Wrong, Timed::At))
    }
}

/// What a signature with a time says.
pub(crate) enum Timed {
    /// It is valid: the seconds since 1970.
    At(u64),
    /// It is not by the key that it names.
    Wrong,
}

/// Returns the time in a timed signature, if it is valid.
pub(crate) fn timed(key: &VerifyingKey, text: &str, signature: &[u8]) -> Option<u64> {
    let (seconds, signature) = signature.split_first_chunk::<8>()?;
    let seconds = u64::from_be_bytes(*seconds);
    verify(key, timed_message(text, seconds).as_bytes(), signature).then_some(seconds)
}

fn verify(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    ed25519_dalek::Signature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
}

fn timed_message(text: &str, seconds: u64) -> String {
    format!("{COSIGNATURE}\ntime {seconds}\n{text}")
}

impl PublicKey {
    fn parse(text: &str) -> Result<Self, Error> {
        let malformed =
            || Error::Invalid(format!("the public key '{}' is malformed: it must be name+id+base64, an Ed25519 key", text.escape_debug()));
        let verifier = StandardVerifier::new(text).map_err(|_| malformed())?;
        let name = verifier.name().to_owned();
        check_name(&name)?;
        let bytes = text.splitn(3, '+').nth(2).and_then(|key| BASE64_STANDARD.decode(key).ok()).ok_or_else(malformed)?;
        let key: &[u8; 32] = bytes.get(1..).and_then(|key| key.try_into().ok()).ok_or_else(malformed)?;
        let timed_id = signed_note::key_id(&name, &[&[TIMED], key.as_slice()].concat());
        Ok(Self {
            text: text.to_owned(),
            id: verifier.key_id(),
            timed_id,
            key: VerifyingKey::from_bytes(key).map_err(|_| malformed())?,
            name,
        })
    }
}

/// The lines of the files in a folder that have text, by the names of the files.
fn lines(folder: &Path) -> Result<Vec<String>, Error> {
    let unreadable =
        |path: &Path, error: &dyn fmt::Display| Error::Invalid(format!("the keys in '{}' cannot be read: {error}", path.display()));
    let mut files: Vec<_> = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(folder, &error))?
        .into_iter()
        // A mounted Secret has its generations in folders such as `..data`.
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        if fs::metadata(&file).map_err(|error| unreadable(&file, &error))?.len() > MAX_FILE {
            return Err(unreadable(&file, &format!("it is larger than {MAX_FILE} bytes")));
        }
        let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
        lines.extend(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_accepted_as_generated_and_no_message_has_a_private_one() {
        let pair = generate("record.example.com/one").unwrap();
        let signers = Signers::from_texts([&pair.signer]).unwrap();
        assert_eq!(signers.origin(), "record.example.com/one");
        assert_eq!(signers.trusted().texts().collect::<Vec<_>>(), [pair.verifier.as_str()]);
        let secret = pair.signer.rsplit('+').next().unwrap();
        assert!(!format!("{pair:?} {signers:?}").contains(secret));
        let broken = pair.signer.replace("record", "recorb");
        let error = Signers::from_texts([broken]).unwrap_err().to_string();
        assert!(!error.contains(secret) && error.contains("malformed"), "{error}");
        assert!(generate("two words").is_err() && generate("").is_err() && generate("a+b").is_err());
    }

    #[test]
    fn a_folder_is_that_of_a_mounted_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new, foreign) = (generate("log").unwrap(), generate("log").unwrap(), generate("other").unwrap());
        assert!(Signers::from_folder(folder.path()).unwrap_err().to_string().contains("no private key"));
        fs::write(folder.path().join("1-old"), &old.signer).unwrap();
        fs::write(folder.path().join("2-new"), format!("# since May\n{}\n{}\n", new.signer, new.verifier)).unwrap();
        fs::create_dir(folder.path().join("..data")).unwrap();
        let signers = Signers::from_folder(folder.path()).unwrap();
        assert_eq!(signers.trusted().texts().collect::<Vec<_>>(), [old.verifier.as_str(), new.verifier.as_str()]);
        assert_eq!(Trusted::from_folder(folder.path()).unwrap().texts().count(), 2);
        fs::write(folder.path().join("3"), &foreign.verifier).unwrap();
        assert!(Trusted::from_folder(folder.path()).unwrap_err().to_string().contains("different logs"));
    }
}
