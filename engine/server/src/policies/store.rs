//! Where uploaded modules and the registry are kept: `modules/sha256-….wasm`, named after their
//! content, and `policies.json`.
//!
//! A file is written beside its place, synced, renamed, and its folder synced: after a crash at any
//! step there is the old file or the new one. It must not know what the registry says.

mod files;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ostler_wasm::ModuleId;

pub(super) use files::Files;
use files::{Disk, Memory};

/// The folder of the modules.
const MODULES: &str = "modules";
/// The registry.
const REGISTRY: &str = "policies.json";
/// What a running server holds, so that no second one writes here.
const LOCK: &str = "lock";
/// Ends the names of files that are being written.
const UNFINISHED: &str = ".unfinished";

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct StoreError {
    /// The file or folder.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreOpenError {
    /// The system refuses.
    #[error("data directory: {0}")]
    Store(#[from] StoreError),
    /// Another server uses it.
    #[error("data directory {}: another server uses it; give each its own", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
}

/// One data directory, or a stand-in in memory.
pub(super) struct Store {
    dir: PathBuf,
    files: Box<dyn Files>,
    /// Held until the store goes.
    _lock: Option<File>,
}

impl Store {
    /// The store in `dir`, which is made where it is missing; none for memory only.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, StoreOpenError> {
        let Some(dir) = dir else {
            return Ok(Self::with_files(Path::new(""), Box::new(Memory::default()))?);
        };
        let modules = dir.join(MODULES);
        let parents = parents_of_new(&modules);
        std::fs::create_dir_all(&modules).map_err(at(&modules))?;
        for parent in parents {
            Disk.sync_folder(&parent).map_err(at(&parent))?;
        }
        let path = dir.join(LOCK);
        let options = File::options().write(true).create(true).truncate(false).open(&path);
        let lock = options.map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(StoreOpenError::Locked { dir: dir.into() });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(at(&path)(source).into()),
        }
        let store = Self::with_files(dir, Box::new(Disk))?;
        Ok(Self { _lock: Some(lock), ..store })
    }

    /// The store in `dir` of `files`. What an earlier server was writing when it ended is removed.
    pub(super) fn with_files(dir: &Path, files: Box<dyn Files>) -> Result<Self, StoreError> {
        let store = Self { dir: dir.into(), files, _lock: None };
        for folder in [store.dir.clone(), store.dir.join(MODULES)] {
            for name in store.files.list(&folder).map_err(at(&folder))? {
                if name.ends_with(UNFINISHED) {
                    let path = folder.join(name);
                    store.files.remove(&path).map_err(at(&path))?;
                }
            }
        }
        Ok(store)
    }

    /// The registry's text in `dir`, none where there is none; for those who only look.
    pub(super) fn peek_registry(dir: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        registry_of(&Disk, dir)
    }

    /// True where what is kept outlives the process.
    pub(super) fn is_lasting(&self) -> bool {
        self.files.is_lasting()
    }

    /// The registry's text, none where none was saved yet.
    pub(super) fn registry(&self) -> Result<Option<Vec<u8>>, StoreError> {
        registry_of(&*self.files, &self.dir)
    }

    /// Replaces the registry's text: readers see the old one or this.
    pub(super) fn save_registry(&self, text: &[u8]) -> Result<(), StoreError> {
        self.replace(&self.dir, REGISTRY, text)
    }

    /// Puts a damaged registry out of the way, as `policies.json.corrupt`.
    pub(super) fn set_registry_aside(&self) -> Result<PathBuf, StoreError> {
        self.set_aside(self.dir.join(REGISTRY))
    }

    /// Keeps a module. Twice the same is once.
    pub(super) fn put(&self, id: ModuleId, module: &[u8]) -> Result<(), StoreError> {
        if self.read(id)?.is_some() {
            return Ok(());
        }
        self.replace(&self.dir.join(MODULES), &file_name(id), module)
    }

    /// A module's bytes, none where it is not there. One whose bytes are not what its name says is
    /// put out of the way as `….corrupt`, logged, and not there either.
    pub(super) fn read(&self, id: ModuleId) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.module_path(id);
        let module = match self.files.read(&path) {
            Ok(module) => module,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        };
        if ModuleId::of(&module) == id {
            return Ok(Some(module));
        }
        let aside = self.set_aside(path)?;
        tracing::error!(module = %id, file = %aside.display(), "a stored module is damaged");
        Ok(None)
    }

    /// Removes a module; none is fine.
    pub(super) fn remove(&self, id: ModuleId) -> Result<(), StoreError> {
        let path = self.module_path(id);
        match self.files.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }

    /// All modules by their names, whatever is in them.
    pub(super) fn modules(&self) -> Result<Vec<ModuleId>, StoreError> {
        let folder = self.dir.join(MODULES);
        let names = self.files.list(&folder).map_err(at(&folder))?;
        Ok(names.iter().filter_map(|name| id_of(name)).collect())
    }

    fn module_path(&self, id: ModuleId) -> PathBuf {
        self.dir.join(MODULES).join(file_name(id))
    }

    fn set_aside(&self, path: PathBuf) -> Result<PathBuf, StoreError> {
        let mut aside = path.clone().into_os_string();
        aside.push(".corrupt");
        let aside = PathBuf::from(aside);
        self.files.rename(&path, &aside).map_err(at(&path))?;
        Ok(aside)
    }

    fn replace(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = folder.join(name);
        let unfinished = folder.join(format!("{name}{UNFINISHED}"));
        let written = self
            .files
            .write_synced(&unfinished, bytes)
            .and_then(|()| self.files.rename(&unfinished, &path))
            .and_then(|()| self.files.sync_folder(folder));
        if written.is_err() {
            // What went wrong is reported; a half-written file must not stay behind as well.
            let _ = self.files.remove(&unfinished);
        }
        written.map_err(at(&path))
    }
}

fn registry_of(files: &dyn Files, dir: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let path = dir.join(REGISTRY);
    match files.read(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path)(error)),
    }
}

/// The folders in which a folder has to be made for `folder` to be there, innermost first. Each of them
/// has a new name then, which a power cut takes away until the folder is synced.
fn parents_of_new(folder: &Path) -> Vec<PathBuf> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing = folder.ancestors().take_while(is_missing);
    let parents = missing.filter_map(Path::parent).map(|parent| match parent.as_os_str() {
        name if name.is_empty() => PathBuf::from("."),
        _ => parent.to_owned(),
    });
    parents.collect()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError { path: path.into(), source }
}

/// `sha256-….wasm`.
fn file_name(id: ModuleId) -> String {
    format!("{}.wasm", id.to_string().replace(':', "-"))
}

fn id_of(file_name: &str) -> Option<ModuleId> {
    let digits = file_name.strip_prefix("sha256-")?.strip_suffix(".wasm")?;
    format!("sha256:{digits}").parse().ok()
}

#[cfg(test)]
pub(super) mod tests;
