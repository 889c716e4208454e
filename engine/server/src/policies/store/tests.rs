//! The store on a disk that breaks at every single step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

/// What happens at the step that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breakage {
    /// Only this step fails: a full disk.
    Once,
    /// It and all that follow: the process was killed there.
    ForGood,
    /// The same, and names that were not synced by then are as they were: the power went.
    PowerCut,
}

/// Files in memory that outlive their store, and break at a step.
#[derive(Clone)]
pub(crate) struct Breaking {
    files: Arc<Memory>,
    /// What a power cut leaves.
    synced: Arc<Memory>,
    steps: Arc<AtomicUsize>,
    at: usize,
    how: Breakage,
}

impl Breaking {
    /// Breaks at the step `at`, counted from 0; only steps that change something count.
    pub(crate) fn new(at: usize, how: Breakage) -> Self {
        let (files, synced) = (Arc::default(), Arc::default());
        Self { files, synced, steps: Arc::default(), at, how }
    }

    /// The same files in good order, as far as they are left.
    pub(crate) fn repaired(&self) -> Self {
        let repaired = Self { at: usize::MAX, ..self.clone() };
        if self.how != Breakage::PowerCut {
            return repaired;
        }
        let files = Memory::default();
        for folder in FOLDERS.map(Path::new) {
            copy(folder, &self.synced, &files);
        }
        Self { files: Arc::new(files), ..repaired }
    }

    /// Steps taken so far.
    pub(crate) fn steps(&self) -> usize {
        self.steps.load(Relaxed)
    }

    /// Every file.
    pub(crate) fn names(&self) -> Vec<String> {
        let folders = FOLDERS.map(Path::new);
        folders.iter().flat_map(|folder| self.files.list(folder).unwrap()).collect()
    }

    /// Overwrites a file's bytes.
    pub(crate) fn damage(&self, path: &str) {
        assert!(self.files.read(Path::new(path)).is_ok(), "{path}");
        self.files.write_synced(Path::new(path), b"{ damaged").unwrap();
    }

    fn step(&self) -> io::Result<()> {
        let step = self.steps.fetch_add(1, Relaxed);
        let broken = match self.how {
            Breakage::Once => step == self.at,
            Breakage::ForGood | Breakage::PowerCut => step >= self.at,
        };
        if broken { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Files for Breaking {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.read(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.files.list(folder)
    }

    fn write_synced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.step() {
            self.files.write_synced(path, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        // The bytes are on the medium, under a name that is not, unless it was there before.
        if self.synced.read(path).is_ok() {
            self.synced.write_synced(path, bytes)?;
        }
        self.files.write_synced(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        self.files.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        copy(folder, &self.files, &self.synced);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.files.remove(path)
    }
}

/// Both folders of a store.
const FOLDERS: [&str; 2] = ["", MODULES];

/// Makes a folder the same in `to` as it is in `from`.
fn copy(folder: &Path, from: &Memory, to: &Memory) {
    for name in to.list(folder).unwrap() {
        to.remove(&folder.join(name)).unwrap();
    }
    for name in from.list(folder).unwrap() {
        let path = folder.join(name);
        to.write_synced(&path, &from.read(&path).unwrap()).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names = Disk.list(dir).unwrap();
    names.extend(Disk.list(&dir.join(MODULES)).unwrap());
    names
}

#[test]
fn modules_and_registry_come_back_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("a/b");
    let id = ModuleId::of(b"module");
    let store = Store::open(Some(&data_dir)).unwrap();
    assert_eq!((store.registry().unwrap(), store.read(id).unwrap()), (None, None));
    for _ in 0..2 {
        store.put(id, b"module").unwrap();
    }
    store.save_registry(b"one").unwrap();
    store.save_registry(b"two").unwrap();
    let file = format!("sha256-{}.wasm", &id.to_string()[7..]);
    assert_eq!(names(&data_dir), [LOCK, REGISTRY, &file]);
    drop(store);
    let store = Store::open(Some(&data_dir)).unwrap();
    assert_eq!(store.registry().unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(store.read(id).unwrap().as_deref(), Some(&b"module"[..]));
    assert_eq!(store.modules().unwrap(), [id]);
    store.remove(id).unwrap();
    store.remove(id).unwrap();
    assert_eq!(store.modules().unwrap(), []);
}

#[test]
fn a_directory_has_one_server() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(Some(dir.path())).unwrap();
    let second = Store::open(Some(dir.path())).err().unwrap();
    assert!(second.to_string().contains("another server uses it"), "{second}");
    drop(first);
    assert!(Store::open(Some(dir.path())).is_ok());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(Some(&file)).err().unwrap();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
}

#[test]
fn damaged_modules_are_put_aside_and_unfinished_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let id = ModuleId::of(b"module");
    Store::open(Some(dir.path())).unwrap().put(id, b"module").unwrap();
    let path = dir.path().join(MODULES).join(file_name(id));
    std::fs::write(&path, b"modul").unwrap();
    std::fs::write(dir.path().join("policies.json.unfinished"), "{").unwrap();
    std::fs::write(path.with_extension("wasm.unfinished"), "m").unwrap();
    let store = Store::open(Some(dir.path())).unwrap();
    assert_eq!(store.read(id).unwrap(), None);
    assert_eq!(store.modules().unwrap(), []);
    assert_eq!(names(dir.path()), [LOCK.to_owned(), format!("{}.corrupt", file_name(id))]);
    store.put(id, b"module").unwrap();
    assert!(store.read(id).unwrap().is_some());
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    for at in 3..5 {
        let files = Breaking::new(at, Breakage::Once);
        let store = Store::with_files(Path::new(""), Box::new(files.clone())).unwrap();
        store.save_registry(b"one").unwrap();
        let error = store.save_registry(b"two").unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        assert_eq!(error.path, Path::new(REGISTRY));
        assert_eq!(store.registry().unwrap().as_deref(), Some(&b"one"[..]), "step {at}");
        assert_eq!(files.names(), [REGISTRY], "step {at}");
    }
}

#[test]
fn the_names_of_a_new_directory_are_synced_too() {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("a/b").join(MODULES);
    let expected = [dir.path().join("a/b"), dir.path().join("a"), dir.path().to_owned()];
    assert_eq!(parents_of_new(&modules), expected);
    drop(Store::open(Some(&dir.path().join("a/b"))).unwrap());
    assert!(parents_of_new(&modules).is_empty());
    assert_eq!(parents_of_new(Path::new("none/b")), [Path::new("none"), Path::new(".")]);
}
