//! A folder on a volume. What was written survives a loss of power: each file is complete before it gets its name, and the names are synced
//! before a checkpoint counts on them.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use sha2::{Digest, Sha256};

use crate::{
    Error,
    storage::{Object, Storage, Version},
};

/// The file that a writer holds locked.
const LOCK: &str = ".lock";

/// See the module.
#[derive(Debug)]
pub(crate) struct Folder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// The folders with names that may not be on the disk yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
    lock: Mutex<Option<File>>,
    /// Held from a comparison to the rename that depends on it: a publication that was cancelled may still be running.
    renaming: Mutex<()>,
    temporary: AtomicU64,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            inner: Arc::new(Inner {
                root,
                unsynced: Mutex::default(),
                lock: Mutex::default(),
                renaming: Mutex::default(),
                temporary: AtomicU64::new(0),
            }),
        }
    }

    /// Files block: they are not for the threads of the runtime.
    fn run<T: Send + 'static>(
        &self,
        operation: String,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, Error>> {
        let inner = Arc::clone(&self.inner);
        async move {
            match tokio::task::spawn_blocking(move || work(&inner)).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(classify(operation, &error)),
                Err(error) => Err(Error::Retry { operation, reason: error.to_string() }),
            }
        }
        .boxed()
    }
}

fn classify(operation: String, error: &io::Error) -> Error {
    let reason = error.to_string();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::Denied { operation, reason },
        // A full disk or quota, a volume that went away, too many open files.
        _ => Error::Retry { operation, reason },
    }
}

impl Inner {
    /// Gives a file its content, if its current content is as it must be.
    fn write(&self, path: &Path, bytes: &[u8], may: impl FnOnce(&Path) -> io::Result<bool>) -> io::Result<bool> {
        let folder = path.parent().unwrap_or(&self.root);
        self.create_folder(folder)?;
        // In the root: a folder of tiles then never has anything else, also after a crash.
        let temporary = self.root.join(format!(".tmp-{}-{}", std::process::id(), self.temporary.fetch_add(1, Ordering::Relaxed)));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        let renamed = written.and_then(|()| {
            let _renaming = self.renaming.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(may(path)? && fs::rename(&temporary, path).map(|()| true)?)
        });
        if matches!(renamed, Ok(true)) {
            self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
        } else {
            let _ = fs::remove_file(&temporary);
        }
        renamed
    }

    /// Creates a folder and those above it. The name of each new one is synced too.
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            self.create_folder(parent)?;
            self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(parent.to_owned());
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn sync(&self) -> io::Result<()> {
        let folders = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in &folders {
            // Windows cannot open a folder as a file, and syncs names itself.
            if cfg!(unix)
                && let Err(error) = File::open(folder).and_then(|file| file.sync_all())
                && error.kind() != io::ErrorKind::NotFound
            {
                self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).extend(folders.iter().cloned());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes the lock. The kernel releases it when the process ends, however it ends.
    fn lock(&self) -> io::Result<bool> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Ok(true);
        }
        self.create_folder(&self.root)?;
        let file = File::options().create(true).truncate(false).write(true).open(self.root.join(LOCK))?;
        match file.try_lock() {
            Ok(()) => {
                // What a writer left that was killed. Nobody else writes now.
                for entry in fs::read_dir(&self.root)?.filter_map(Result::ok) {
                    if entry.file_name().to_string_lossy().starts_with(".tmp-") {
                        let _ = fs::remove_file(entry.path());
                    }
                }
                *held = Some(file);
                Ok(true)
            }
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self, prefix: &str, limit: usize) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![prefix.trim_end_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(self.root.join(&folder)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }
}

fn version(bytes: &[u8]) -> Version {
    Version { tag: Some(tlog_tiles::Hash(Sha256::digest(bytes).into()).to_string()), version: None }
}

fn read(path: &Path) -> io::Result<Option<Bytes>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Storage for Folder {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Object>, Error>> {
        let file = self.inner.root.join(path);
        self.run(format!("reading '{path}'"), move |_| Ok(read(&file)?.map(|bytes| Object { version: version(&bytes), bytes })))
    }

    fn create<'a>(&'a self, path: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        let file = self.inner.root.join(path);
        self.run(format!("writing '{path}'"), move |inner| {
            let free = |file: &Path| Ok(!file.try_exists()?);
            Ok((free(&file)? && inner.write(&file, &bytes, free)?).then(|| version(&bytes)))
        })
    }

    fn replace<'a>(&'a self, path: &'a str, bytes: Bytes, expected: &'a Version) -> BoxFuture<'a, Result<Option<Version>, Error>> {
        let file = self.inner.root.join(path);
        let expected = expected.clone();
        self.run(format!("replacing '{path}'"), move |inner| {
            let same = |file: &Path| Ok(read(file)?.is_some_and(|current| version(&current) == expected));
            if !inner.write(&file, &bytes, same)? {
                return Ok(None);
            }
            inner.sync()?;
            Ok(Some(version(&bytes)))
        })
    }

    fn delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        let file = self.inner.root.join(path);
        self.run(format!("deleting '{path}'"), move |inner| {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // A store of objects has no empty folders either.
            let mut folder = file.parent();
            while let Some(empty) = folder.filter(|folder| *folder != inner.root && fs::remove_dir(folder).is_ok()) {
                folder = empty.parent();
            }
            Ok(())
        })
    }

    fn list<'a>(&'a self, prefix: &'a str, limit: usize) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        let folder = prefix.to_owned();
        self.run(format!("listing '{prefix}'"), move |inner| inner.list(&folder, limit))
    }

    fn sync(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.run("syncing the folders of the log".to_owned(), Inner::sync)
    }

    fn lock(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let root = self.inner.root.display().to_string();
            if self.run(format!("locking '{root}'"), Inner::lock).await? {
                Ok(())
            } else {
                Err(Error::LostFence(format!("it holds the lock of the folder '{root}'")))
            }
        }
        .boxed()
    }
}
