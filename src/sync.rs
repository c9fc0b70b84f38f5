//! The locks and atomics of what shards share, so that loom can replace them.
//!
//! In a normal build these are parking_lot's locks (small, without poisoning: a panic ends the process) and the
//! standard library's atomics. With `--cfg loom` they are loom's, behind the same surface, and the tests in modules
//! named `model` run every interleaving of a few threads:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --lib model::
//! ```

#[cfg(loom)]
pub use loom::sync::atomic;
#[cfg(not(loom))]
pub use std::sync::atomic;

#[cfg(not(loom))]
pub use parking_lot::{Mutex, RwLock};

#[cfg(loom)]
pub use checked::{Mutex, RwLock};

#[cfg(loom)]
mod checked {
    use loom::sync::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    const POISONED: &str = "a panic ends the model before another thread takes the lock";

    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Mutex<T> {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect(POISONED)
        }
    }

    #[derive(Debug)]
    pub struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub fn new(value: T) -> RwLock<T> {
            RwLock(loom::sync::RwLock::new(value))
        }

        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().expect(POISONED)
        }

        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().expect(POISONED)
        }
    }
}
