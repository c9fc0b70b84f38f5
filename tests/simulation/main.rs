//! The simulation: real shards, virtual clients, virtual time, and one seed from which everything follows.
//!
//! ```text
//!   chance -> plan -> world (shards, sockets, letters, clock) <-> client, wire, item
//!                       |
//!                      log -> checkers, coverage        calm runs: log == naive
//! ```
//!
//! A failure names its seed. `FANWIRE_SIMULATION_SEED=S` runs that seed alone and prints what happened in it;
//! `FANWIRE_SIMULATION_SEEDS=N` runs the first N seeds in place of the first 2,000.

mod allowed;
mod broken;
mod chance;
mod changes;
mod checkers;
mod client;
mod coverage;
mod doors;
mod guards;
mod item;
mod judged;
mod log;
mod naive;
mod plan;
mod run;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use coverage::{Coverage, MUST_HAPPEN};
use run::run;

/// How many seeds run if nothing else is asked for.
const SEEDS: u64 = 2_000;

/// Seeds that once found something, and what it was.
const REGRESSIONS: &[(u64, &str)] = &[
    (0, "the first part of a frame that was cut in two was lost"),
    (852, "a callee that had joined another realm was invoked under an id of its old one"),
    (1002, "ABORT followed the router's own GOODBYE"),
    (1556, "a callee was given one invocation more before it had seen that another was given up"),
    (5887, "a callee that had joined again was given a call that was counted for the session before"),
    (19421, "an authorizer had gone, and who had registered a pattern was asked in its place"),
    (15992, "a connection that came when the shutdown was over outlived it"),
    (54698, "a testament was flushed, with RESULT, that a shutdown had published"),
];

fn asked(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")))
}

/// Runs a seed; its coverage, or what a person needs to know of the failure.
fn judge(seed: u64) -> Result<Coverage, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("seed {seed} panicked: {}", text.unwrap_or_default())
    });
    let outcome = outcome?;
    outcome.verdict.map_err(|what| format!("seed {seed}: {what}"))?;
    Ok(outcome.coverage)
}

fn rerun(failures: &[String]) -> String {
    format!(
        "{} of the seeds failed, the first:\n{}\n\nrun one again with its trace:\n  \
         FANWIRE_SIMULATION_SEED=... cargo test --test simulation one_seed -- --nocapture\n",
        failures.len(),
        failures.iter().take(5).cloned().collect::<Vec<_>>().join("\n")
    )
}

#[test]
fn every_seed_keeps_the_guarantees() {
    let seeds = asked("FANWIRE_SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let total = Mutex::new(Coverage::default());
    let failures = Mutex::new(Vec::new());
    let work = || {
        let mut coverage = Coverage::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            match judge(seed) {
                Ok(seen) => coverage.add(&seen),
                Err(failure) => failures.lock().expect("no thread panics").push(failure),
            }
        }
        total.lock().expect("no thread panics").add(&coverage);
    };
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (mut failures, coverage) = (failures.into_inner().unwrap(), total.into_inner().unwrap());
    failures.sort();
    assert!(failures.is_empty(), "{}", rerun(&failures));
    println!("{:#?}", coverage.0);
    if seeds >= SEEDS {
        let never: Vec<_> = MUST_HAPPEN.iter().filter(|what| !coverage.0.contains_key(**what)).collect();
        assert!(never.is_empty(), "never happened in {seeds} seeds: {never:#?}");
    }
}

#[test]
fn seeds_that_once_found_something_find_nothing() {
    for (seed, what) in REGRESSIONS {
        if let Err(failure) = judge(*seed) {
            panic!("{failure}\nthis seed once found: {what}");
        }
    }
}

#[test]
fn one_seed() {
    let Some(seed) = asked("FANWIRE_SIMULATION_SEED") else { return };
    let outcome = run(seed);
    println!("{}", outcome.log.trace());
    if let Err(what) = outcome.verdict {
        panic!("seed {seed}: {what}");
    }
}
