//! The file that keeps what was asked for of a cache over a restart.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The folder in the data directory.
const FOLDER: &str = "warming";

/// The file for a cache in a data directory. A cache's name is one of a file, too.
pub(crate) fn file_of(data_dir: &Path, cache: &str) -> PathBuf {
    data_dir.join(FOLDER).join(format!("{cache}.keys"))
}

/// Writes the file in one step: whoever reads it finds all of it, or what was there before.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let new = file.with_extension("new");
    let mut written = File::create(&new)?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_in_one_step() {
        let data = tempfile::tempdir().unwrap();
        let file = file_of(&data.path().join("new"), "a.b");
        write(&file, b"one").unwrap();
        write(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        fs::create_dir_all(file.with_extension("new")).unwrap();
        assert!(write(&file, b"three").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"two");
    }
}
