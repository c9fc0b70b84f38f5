//! Installs the client libraries into `target/clients`, once for every set of pins.
//!
//! A directory is named by the hash of what goes into it, made under a lock that other processes respect, and finished
//! by a marker file; one without the marker is made anew. Nothing outside `target` is written, and where an interpreter
//! is missing the tests are skipped aloud, which counts as a failure where `CI` is `true`.

use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::run;

const INSTALL_PATIENCE: Duration = Duration::from_secs(600);
const QUESTION_PATIENCE: Duration = Duration::from_secs(60);

/// The oldest Python that the pinned autobahn runs on.
const PYTHON_MINOR_MIN: u32 = 11;
const PYTHONS: [&str; 5] = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/// The oldest Node.js that the pinned libraries run on.
const NODE_MAJOR_MIN: u32 = 20;

/// The directory of the scripts and the pins.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A Python interpreter that has autobahn, or none if there is no Python.
pub fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Installed> = OnceLock::new();
    answer("Python", PYTHON.get_or_init(|| install_python("python", "requirements.txt")))
}

/// One that has the autobahn which speaks UBJSON.
pub fn python_ubjson() -> Option<&'static Path> {
    static PYTHON: OnceLock<Installed> = OnceLock::new();
    answer("Python", PYTHON.get_or_init(|| install_python("python-ubjson", "requirements-ubjson.txt")))
}

/// A `node_modules` directory that has the libraries, or none if there is no Node.js.
pub fn node_modules() -> Option<&'static Path> {
    static NODE_MODULES: OnceLock<Installed> = OnceLock::new();
    answer("Node.js", NODE_MODULES.get_or_init(install_node_modules))
}

/// A path, none with the reason to skip, or what went wrong.
type Installed = Result<Result<PathBuf, String>, String>;

fn answer(language: &str, installed: &'static Installed) -> Option<&'static Path> {
    match installed {
        Ok(Ok(path)) => Some(path),
        Ok(Err(reason)) => {
            assert!(
                !env::var("CI").is_ok_and(|ci| ci == "true"),
                "{language} clients cannot be tested: {reason}"
            );
            // Written to the stream itself, since what the macros print is shown for failing tests only.
            let _ = writeln!(std::io::stderr(), "\nSKIPPED: {language} clients are not tested: {reason}\n");
            None
        }
        Err(failure) => panic!("{language} clients cannot be installed: {failure}"),
    }
}

fn install_python(name: &str, requirements: &str) -> Installed {
    let Some((interpreter, version)) = PYTHONS.iter().find_map(|name| Some((*name, python_version(name)?)))
    else {
        return Ok(Err(format!("none of {PYTHONS:?} is Python 3.{PYTHON_MINOR_MIN} or newer")));
    };
    let requirements = scripts().join(requirements);
    let pins = fs::read_to_string(&requirements).expect("the requirements are part of the repository");
    let installed = once(name, &[&pins, &version], |directory| {
        run("venv", Command::new(interpreter).args(["-m", "venv"]).arg(directory), INSTALL_PATIENCE)?;
        let mut pip = Command::new(venv_python(directory));
        pip.args(["-m", "pip", "install", "--quiet", "--prefer-binary", "--requirement"]).arg(&requirements);
        // py-ubjson comes as source only; its part in C, which would need a compiler, only makes it faster.
        pip.env("PYUBJSON_NO_EXTENSION", "1");
        run("pip", &mut pip, INSTALL_PATIENCE)
    });
    installed.map(|directory| Ok(venv_python(&directory)))
}

fn venv_python(directory: &Path) -> PathBuf {
    directory.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// The full version, if it is new enough and can make virtual environments with pip.
fn python_version(interpreter: &str) -> Option<String> {
    let question = "import ensurepip, sys, venv; print(sys.version_info.minor, sys.executable, sys.version)";
    let answer = ask(Command::new(interpreter).args(["-c", question]))?;
    let minor: u32 = answer.split(' ').next()?.parse().ok()?;
    (minor >= PYTHON_MINOR_MIN).then_some(answer)
}

fn install_node_modules() -> Installed {
    let version = ask(Command::new("node").arg("--version")).unwrap_or_default();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Ok(Err(format!("node {NODE_MAJOR_MIN} or newer is not there: {version:?}")));
    }
    if ask(Command::new("npm").arg("--version")).is_none() {
        return Ok(Err("npm is not there".to_owned()));
    }
    let pins = fs::read_to_string(scripts().join("package.json")).expect("it is part of the repository");
    let installed = once("node", &[&pins, &version], |directory| {
        fs::write(directory.join("package.json"), &pins).map_err(|error| format!("package.json: {error}"))?;
        let mut npm = Command::new("npm");
        // Versions are pinned in package.json itself: a lock file would name the native packages of every platform.
        // They, and what scripts would build, only make the libraries faster.
        npm.args([
            "install",
            "--no-package-lock",
            "--omit=optional",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]);
        run("npm", npm.current_dir(directory), INSTALL_PATIENCE)
    });
    installed.map(|directory| Ok(directory.join("node_modules")))
}

/// The standard output of a command that is there and succeeds.
fn ask(command: &mut Command) -> Option<String> {
    run("question", command, QUESTION_PATIENCE).ok().map(|answer| answer.trim().to_owned())
}

/// Makes the directory of these pins unless it is complete.
fn once(
    name: &str,
    pins: &[&str],
    make: impl FnOnce(&Path) -> Result<String, String>,
) -> Result<PathBuf, String> {
    let root = target().join("clients");
    fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
    let lock = File::create(root.join(format!("{name}.lock"))).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;

    let mut hasher = DefaultHasher::new();
    pins.hash(&mut hasher);
    let directory = root.join(format!("{name}-{:016x}", hasher.finish()));
    let marker = directory.join("complete");
    if !marker.exists() {
        // What an interrupted installation left; absent in most cases.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        make(&directory)?;
        File::create(&marker).map_err(|error| error.to_string())?;
    }
    Ok(directory)
}

/// Cargo's target directory: it gives tests a folder of their own inside.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is a folder inside the target directory")
}
