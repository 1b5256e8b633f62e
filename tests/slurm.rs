//! Runs in parts on a real SLURM, which is brought up on this machine and taken down again
//! (`scripts/slurm-local`): whatever happens to the jobs, the parts together are the run.
//!
//! All of it takes minutes, so it runs on demand: `make test-slurm`. CI runs an array alone.
#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::namespace::{in_namespace, must, text as path_text, works};
use common::place::Place;
use common::require::{SLURM, SLURM_ARRAY, is_required, not_run};
use common::rows::Copy;
use midlayer::store::StoredRun;
use predicates::str::contains;

/// Items that run one by one: there is a middle for something to happen in.
const SWEEP: &str = "sweep -m tiny.gguf --task math --shots 0 --limit 160 --manipulate random \
                     --layers 0-3 --strategy straightforward";

const PARTS: &str = "--parts 4 --cpus 1 --memory 300 --time 10";

/// What is done to a SLURM's jobs, and looked at afterwards.
type Step = fn(&Slurm<'_>);

/// A SLURM, until it is dropped.
struct Slurm<'p> {
    place: &'p Place,
    folder: PathBuf,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/slurm-local")
}

impl<'p> Slurm<'p> {
    fn start(place: &'p Place) -> Self {
        let folder = place.path("slurm");
        let slurm = Self { place, folder };
        let mut start = Command::new(script());
        start
            .arg("start")
            .arg(&slurm.folder)
            .env("SLURM_LOCAL_CPUS", "4");
        let output = start.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        slurm
    }

    fn command(&self, mut command: Command) -> Output {
        command.env("SLURM_CONF", self.folder.join("slurm.conf"));
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        output
    }

    /// One of SLURM's own programs.
    fn run(&self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(self.place.0.path());
        text(&self.command(command).stdout).trim().to_string()
    }

    /// Submits the parts of a run that are not complete. Returns the array's job and the last one.
    fn submit(&self, sweep: &str, options: &str) -> (String, String) {
        let line = format!("submit slurm {PARTS} {options} -- {sweep}");
        let output = self.command(self.place.command(&line));
        let said = text(&output.stderr);
        let last = said.split_whitespace().last().expect("jobs").to_string();
        (text(&output.stdout).trim().to_string(), last)
    }

    /// Waits until a job is over, however it ends.
    fn wait(&self, job: &str) {
        self.run(&format!(
            "sbatch --wait --dependency=afterany:{job} --output=/dev/null --wrap true"
        ));
    }

    /// Waits until a part has some results, and not all.
    fn wait_for_results(&self, run: &str, part: &str) {
        let folder = self.place.path(run).join("shards").join(part);
        let begun = Instant::now();
        while Copy::of(&folder).is_none_or(|part| part.items() < 2) {
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "{part} does not begin"
            );
            std::thread::yield_now();
        }
    }

    /// The states that a job's tasks have ended in, as SLURM noted them.
    fn log(&self, run: &str) -> String {
        let logs = std::fs::read_dir(self.place.path(run).join("logs")).unwrap();
        let logs = logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap());
        logs.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Slurm<'_> {
    fn drop(&mut self) {
        let _ = Command::new(script())
            .arg("stop")
            .arg(&self.folder)
            .status();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every table, and the rows in their order.
fn same(place: &Place, run: &str) {
    let dump = |run: &str| Copy::of(&place.path(run)).unwrap().dump();
    assert!(dump(run) == dump("whole"), "{run} has other rows");
    let rows = |run: &str| {
        StoredRun::read(&place.path(run))
            .unwrap()
            .variants
            .remove(0)
            .rows
    };
    assert!(rows(run) == rows("whole"), "{run} has another order");
    assert!(place.path(run).join("report.html").exists(), "{run}");
}

#[test]
fn whatever_happens_to_jobs_the_parts_are_the_run() {
    const NAME: &str = "whatever_happens_to_jobs_the_parts_are_the_run";
    let required = std::env::var("MIDLAYER_REQUIRE").unwrap_or_default();
    let asked = [SLURM, SLURM_ARRAY]
        .into_iter()
        .find(|needs| is_required(&required, needs));
    let able = |_: &[&str]| match asked {
        Some(_) => Ok(()),
        None => Err("it takes minutes (make test-slurm)".to_string()),
    };
    if !in_namespace(NAME, asked.unwrap_or(SLURM), able) {
        return;
    }
    let place = Place::new();
    let slurm = Slurm::start(&place);
    place.run(&format!("{SWEEP} -t 1 --out whole")).success();
    an_array_is_the_run(&slurm);
    if asked == Some(SLURM_ARRAY) {
        return;
    }
    let steps: [(&str, Step); 6] = [
        ("cancelled", a_cancelled_task_is_resubmitted),
        ("requeued", a_requeued_task_goes_on),
        ("time", a_task_whose_time_is_over_is_queued_again),
        ("node", a_node_goes_down_and_comes_back),
        ("network", results_go_to_a_network_file_system),
        ("refused", what_is_of_another_run_is_refused),
    ];
    for (name, step) in steps {
        let begun = Instant::now();
        step(&slurm);
        println!("{name}: {:.0} s", begun.elapsed().as_secs_f64());
    }
}

fn an_array_is_the_run(slurm: &Slurm<'_>) {
    let (_, last) = slurm.submit(&format!("{SWEEP} --out array"), "--scratch");
    slurm.wait(&last);
    same(slurm.place, "array");
    // As many threads as processors were given.
    let run = StoredRun::read(&slurm.place.path("array")).unwrap();
    assert!(run.machines.iter().all(|(machine, _)| machine.threads == 1));
    // All is complete: nothing is submitted again.
    let line = format!("submit slurm {PARTS} -- {SWEEP} --out array");
    let output = slurm.command(slurm.place.command(&line));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("all 4 parts are complete"));
}

fn a_cancelled_task_is_resubmitted(slurm: &Slurm<'_>) {
    let sweep = format!("{SWEEP} --out cancelled");
    let (parts, last) = slurm.submit(&sweep, "");
    slurm.wait_for_results("cancelled", "2-of-4");
    slurm.run(&format!("scancel {parts}_2"));
    slurm.wait(&last);
    let missing = slurm.place.run("runs --missing cancelled").success();
    missing.stdout("--array=2\n");
    slurm
        .place
        .run("report cancelled")
        .success()
        .stdout(contains("INCOMPLETE"));
    let (_, last) = slurm.submit(&sweep, "");
    slurm.wait(&last);
    same(slurm.place, "cancelled");
}

fn a_requeued_task_goes_on(slurm: &Slurm<'_>) {
    let (parts, last) = slurm.submit(&format!("{SWEEP} --out requeued"), "");
    slurm.wait_for_results("requeued", "3-of-4");
    slurm.run(&format!("scontrol requeue {parts}_3"));
    slurm.wait(&last);
    same(slurm.place, "requeued");
}

/// SLURM sends USR1 to the script when the time is nearly over. One of the tasks has the number of
/// the whole array, which is not to be queued again with it: all are tried.
fn a_task_whose_time_is_over_is_queued_again(slurm: &Slurm<'_>) {
    for task in 1..=4 {
        let run = format!("late-{task}");
        let (parts, last) = slurm.submit(&format!("{SWEEP} --out {run}"), "");
        slurm.wait_for_results(&run, &format!("{task}-of-4"));
        slurm.run(&format!("scancel --batch --signal=USR1 {parts}_{task}"));
        slurm.wait(&last);
        same(slurm.place, &run);
        let log = slurm.log(&run);
        assert_eq!(log.matches("interrupted: ").count(), 1, "{log}");
    }
}

fn a_node_goes_down_and_comes_back(slurm: &Slurm<'_>) {
    let (_, last) = slurm.submit(&format!("{SWEEP} --out down"), "");
    slurm.wait_for_results("down", "1-of-4");
    let node = slurm.run("sinfo -h -o %n");
    slurm.run(&format!(
        "scontrol update NodeName={node} State=DOWN Reason=test"
    ));
    assert!(slurm.run("sinfo -h -o %T").starts_with("down"));
    slurm.run(&format!("scontrol update NodeName={node} State=RESUME"));
    slurm.wait(&last);
    same(slurm.place, "down");
}

/// Jobs that are requeued while their results lie where the kernel's locks do not decide.
fn results_go_to_a_network_file_system(slurm: &Slurm<'_>) {
    if !works("bindfs", &["--version"]) {
        not_run(
            "a network file system",
            "network-disks",
            "bindfs is not installed",
        );
        return;
    }
    let (below, net) = (slurm.place.path("below"), slurm.place.path("net"));
    std::fs::create_dir_all(&below).unwrap();
    std::fs::create_dir_all(&net).unwrap();
    must("bindfs", &[path_text(&below), path_text(&net)]);
    let (parts, last) = slurm.submit(&format!("{SWEEP} --out net/run"), "");
    slurm.wait_for_results("net/run", "1-of-4");
    slurm.run(&format!("scontrol requeue {parts}_1"));
    slurm.wait(&last);
    same(slurm.place, "net/run");
    must("umount", &[path_text(&net)]);
}

fn what_is_of_another_run_is_refused(slurm: &Slurm<'_>) {
    let (_, last) = slurm.submit(&format!("{SWEEP} --seed 2 --out other"), "");
    slurm.wait(&last);
    slurm
        .place
        .run("merge array other/shards/1-of-4")
        .code(1)
        .stderr(contains("seeds: stored [1], now [2]"));
    same(slurm.place, "array");
}
