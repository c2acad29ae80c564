//! What the tests of one process share: a directory for their files, a guard process that kills everything they leave
//! running, ports that no other test uses, and a panic hook that prints how to run a failed test alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use tempfile::TempDir;

/// Contains the run's directory in the environment of every process that a test starts, so that the guard finds it.
const VARIABLE: &str = "TEST_RUN_DIRECTORY";

/// How many lines at the end of a log are printed for a failed test.
const LOG_LINES: usize = 20;

/// Waits until the test process has ended, then kills the processes that belong to the run and removes its directory.
/// It checks the working directory, the command line and the environment, because servers overwrite their environment
/// and Chromium changes its directory.
/// working directory, the command line and the environment.
const GUARD: &str = r#"
trap '' INT TERM HUP
read -r _
run=$1
if [ -d /proc/self ]; then
    for process in /proc/[0-9]*; do
        id=${process#/proc/}
        [ "$id" != $$ ] || continue
        case $(readlink "$process/cwd" 2>/dev/null) in
            "$run"*) kill -KILL "$id" ;;
            *) ! grep -qsaF "$run" "$process/cmdline" "$process/environ" || kill -KILL "$id" ;;
        esac
    done
else
    ps -axo pid=,command= | grep -F "$run" | while read -r id _; do
        [ "$id" = $$ ] || kill -KILL "$id"
    done
fi 2>/dev/null
rm -rf "$run"
"#;

struct Run {
    directory: PathBuf,
    /// The guard reads from it, and so notices when this process ends.
    _guard: ChildStdin,
}

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        // The name is short, since the path of a Unix socket is limited to 104 bytes.
        let directory = tempfile::Builder::new().prefix("qg-").tempdir().unwrap().keep().canonicalize().unwrap();
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let guard = guard.unwrap().stdin.take().unwrap();
        say_how_to_run_a_failed_test();
        Run { directory, _guard: guard }
    })
}

/// The directory for all files of this process's tests.
pub fn directory() -> &'static Path {
    &run().directory
}

/// A new directory, which is removed when it is dropped, or at the end of this process.
pub fn folder() -> TempDir {
    TempDir::new_in(directory()).unwrap()
}

/// Starts a process that ends when this process does, or earlier.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    mark(command).spawn()
}

/// Marks the command's process as one of this run.
pub fn mark(command: &mut Command) -> &mut Command {
    command.env(VARIABLE, directory()).env("TMPDIR", directory())
}

/// Prints the last lines of a log if the test has failed.
pub fn print_log_of_failed_test(what: &str, log: &Path) {
    if std::thread::panicking() {
        let bytes = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        println!("---- the last {} lines of {what}:\n{}", last.len(), last.join("\n"));
    }
}

/// A file that test processes use as a lock.
pub fn lock_file(name: &str) -> File {
    let folder = Path::new(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target/tmp")).join("locks");
    fs::create_dir_all(&folder).unwrap();
    File::options().create(true).append(true).open(folder.join(name)).unwrap()
}

/// An unused port. It is below the range that the system uses for outgoing connections, and this process keeps a lock
/// on it, so that no other test takes it before its server does.
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap();
    loop {
        let port: u16 = rand::random_range(10_000..30_000);
        let lock = lock_file(&format!("port-{port}"));
        if lock.try_lock().is_ok() && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            taken.push(lock);
            return port;
        }
    }
}

/// Prints the command that runs a failed test alone, after its panic message.
fn say_how_to_run_a_failed_test() {
    let program = std::env::current_exe().unwrap();
    let name = program.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let suite = name.rsplit_once('-').map_or(name, |(suite, _)| suite).to_owned();
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        // Only the thread of a test has a name that contains its module.
        if let Some(test) = std::thread::current().name().filter(|name| name.contains("::")) {
            eprintln!("to run it alone: cargo test --test {suite} -- --exact {test} --nocapture");
        }
    }));
}
