//! The jobs of a run in parts, as a script that hands them to SLURM: one that makes the models
//! ready, an array with a task a part, and one that merges and reports.

use std::fmt::Write;

/// What the jobs are to do, and what they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// The jobs' name.
    pub name: String,
    /// Where commands run; whatever is written into the script is written for a shell.
    pub folder: String,
    /// The program.
    pub program: String,
    /// The sweep's arguments, `sweep` first, the part left out.
    pub sweep: String,
    /// Commands of the program that make the models ready, once for all parts.
    pub ready: Vec<String>,
    /// The files of each model that is to be copied to the node's own disk, the first one first.
    /// The sweep's arguments have a [`variable`] in the place of each.
    pub copied: Vec<Vec<String>>,
    /// The run's folder.
    pub out: String,
    /// How many parts there are.
    pub count: u32,
    /// Those to run, as an array.
    pub array: String,
    /// How many run at once at most.
    pub at_once: Option<u32>,
    /// Processors of a task.
    pub cpus: u32,
    /// Memory of a task in megabytes.
    pub megabytes: u64,
    /// The longest time of a task in minutes.
    pub minutes: u64,
    /// Generic resources of a task, as `gpu:1`.
    pub gres: Option<String>,
    /// Further options of all jobs.
    pub options: Vec<String>,
}

/// Seconds before its time is over at which a task is told to end.
const WARNING: u32 = 120;
/// What the program ends with when it was told to end, and is to be queued again.
const AGAIN: u8 = 75;

/// The node's own disk, for a shell.
pub const DISK: &str = "${TMPDIR:-/tmp}";

/// The name of the variable that stands for the copy of the `n`-th model, counted from 1.
pub fn variable(n: usize) -> String {
    format!("MODEL_{n}")
}

impl Jobs {
    /// The script.
    pub fn script(&self) -> String {
        let mut text = String::from(
            "#!/bin/bash\n# Hands a sweep in parts to SLURM. Repeat it at will: what is complete is not run again.\nset -euo pipefail\n",
        );
        let Self { folder, out, .. } = self;
        put(&mut text, &format!("cd {folder}\nmkdir -p {out}/logs\n"));
        self.job(
            &mut text,
            "ready",
            "",
            &self.options(&[("job-name", format!("{}-ready", self.name))], "%j"),
            &self.ready(),
        );
        let array = match self.at_once {
            Some(most) => format!("{}%{most}", self.array),
            None => self.array.clone(),
        };
        let mut options = vec![
            ("job-name", self.name.clone()),
            ("array", array),
            // Of its own, so that a task that is cancelled is not queued again.
            ("signal", format!("B:USR1@{WARNING}")),
        ];
        options.extend(self.gres.clone().map(|gres| ("gres", gres)));
        self.job(
            &mut text,
            "parts",
            "--dependency=afterok:$ready ",
            &format!("{}#SBATCH --requeue\n", self.options(&options, "%A_%a")),
            &self.part(),
        );
        self.job(
            &mut text,
            "merge",
            "--dependency=afterany:$parts ",
            &self.options(&[("job-name", format!("{}-merge", self.name))], "%j"),
            &format!(
                "{program} merge {out}\n{program} report {out}\n",
                program = self.program
            ),
        );
        put(
            &mut text,
            "echo \"submitted: models $ready, parts $parts, merge and report $merge\" >&2\necho \"$parts\"\n",
        );
        text
    }

    fn options(&self, own: &[(&str, String)], log: &str) -> String {
        let hours = format!("{}:{:02}:00", self.minutes / 60, self.minutes % 60);
        let given = [
            ("cpus-per-task", self.cpus.to_string()),
            ("mem", format!("{}M", self.megabytes)),
            ("time", hours),
            ("open-mode", "append".to_string()),
            ("output", format!("{}/logs/{log}.log", self.out)),
        ];
        let lines = own.iter().chain(&given);
        let mut text: String = lines
            .map(|(name, value)| format!("#SBATCH --{name}={value}\n"))
            .collect();
        for option in &self.options {
            put(&mut text, &format!("#SBATCH {option}\n"));
        }
        text
    }

    fn job(&self, text: &mut String, name: &str, after: &str, options: &str, work: &str) {
        let folder = &self.folder;
        put(
            text,
            &format!(
                "\n{name}=$(sbatch --parsable {after}<<'JOB'\n#!/bin/bash\n{options}set -euo pipefail\ncd {folder}\n{work}JOB\n)\n{name}=${{{name}%%;*}}\n"
            ),
        );
    }

    fn ready(&self) -> String {
        let mut text = String::from("# Fetched or requantized once, before all parts.\n");
        for command in &self.ready {
            put(
                &mut text,
                &format!("{} {command} >/dev/null\n", self.program),
            );
        }
        text
    }

    fn part(&self) -> String {
        let mut text = String::new();
        if !self.copied.is_empty() {
            put(
                &mut text,
                &format!(
                    "# Models on the node's own disk: written whole, then renamed.\nscratch={DISK}/midlayer-$SLURM_JOB_ID\ntrap 'rm -rf \"$scratch\"' EXIT\n"
                ),
            );
        }
        // A folder each: files of different models may have one name.
        for (n, files) in (1..).zip(&self.copied) {
            let first = files.first().map_or("", |first| first);
            put(
                &mut text,
                &format!(
                    "mkdir -p \"$scratch/{n}\"
for file in {files}; do
    copy=$scratch/{n}/$(basename \"$file\")
    cp \"$file\" \"$copy.new\" && sync \"$copy.new\" && mv \"$copy.new\" \"$copy\"
done
{variable}=$scratch/{n}/$(basename {first})
",
                    files = files.join(" "),
                    variable = variable(n),
                ),
            );
        }
        let Self {
            program,
            sweep,
            count,
            ..
        } = self;
        put(
            &mut text,
            &format!(
                "again=
# Near the end of its time, or cancelled: the program stores or drops what it has in hand, and ends
# with {AGAIN}.
trap 'again=1; kill -TERM \"$pid\"' USR1
trap 'kill -TERM \"$pid\"' TERM
{program} {sweep} --shard auto/{count} &
pid=$!
code=0
wait \"$pid\" || code=$?
# A signal ends the waiting, not the program.
while kill -0 \"$pid\" 2>/dev/null; do code=0; wait \"$pid\" || code=$?; done
code=0; wait \"$pid\" || code=$?
if [ \"$code\" = {AGAIN} ] && [ -n \"$again\" ]; then
    # Not by SLURM_JOB_ID, which for one of the tasks is the whole array's.
    scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID\"
fi
exit \"$code\"
"
            ),
        );
        text
    }
}

fn put(text: &mut String, more: &str) {
    text.write_str(more).expect("a String");
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_shell_reads_the_script_and_each_job_in_it() {
        let jobs = Jobs {
            name: "x".into(),
            folder: "'/a b'".into(),
            program: "/usr/bin/midlayer".into(),
            sweep: "sweep -m \"$MODEL_1\" --out runs/x".into(),
            ready: vec!["tokens -m 'it'\\''s' -p .".into()],
            copied: vec![vec!["'m 1.gguf'".into()]],
            out: "runs/x".into(),
            count: 16,
            array: "1-16".into(),
            at_once: Some(4),
            cpus: 2,
            megabytes: 1500,
            minutes: 95,
            gres: Some("gpu:1".into()),
            options: vec!["--partition=long".into()],
        };
        let script = jobs.script();
        for line in [
            "#SBATCH --array=1-16%4",
            "#SBATCH --cpus-per-task=2",
            "#SBATCH --mem=1500M",
            "#SBATCH --time=1:35:00",
            "#SBATCH --signal=B:USR1@120",
            "#SBATCH --requeue",
            "#SBATCH --gres=gpu:1",
            "#SBATCH --output=runs/x/logs/%A_%a.log",
        ] {
            assert_eq!(
                script.lines().filter(|l| *l == line).count(),
                if line.contains("cpus") || line.contains("mem") || line.contains("time") {
                    3
                } else {
                    1
                },
                "{line}\n{script}"
            );
        }
        assert!(script.contains("--shard auto/16 &"));
        let bash = |text: &str| {
            let mut shell = Command::new("bash");
            let shell = shell
                .args(["-n"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = shell.spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            (
                output.status.success(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        assert_eq!(bash(&script), (true, String::new()));
        let jobs: Vec<&str> = script.split("<<'JOB'\n").skip(1).collect();
        assert_eq!(jobs.len(), 3);
        for job in jobs {
            let job = job.split("\nJOB\n").next().unwrap();
            assert_eq!(bash(job), (true, String::new()), "{job}");
        }
    }

    #[test]
    fn models_of_one_name_and_of_several_files_are_copied_apart() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let file = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            format!("'{}'", path.display())
        };
        let jobs = Jobs {
            program: "show".into(),
            sweep: "\"$MODEL_1\" \"$MODEL_2\" \"$MODEL_3\"".into(),
            copied: vec![
                vec![file("a/model.gguf", "a")],
                vec![file("b/model.gguf", "b")],
                vec![file("it is/m-1.gguf", "c"), file("it is/m-2.gguf", "d")],
            ],
            count: 1,
            ..Jobs::default()
        };
        // In the program's place, what it would read.
        let show = "show() { cat \"$1\" \"$2\" \"$3\"; ls \"$(dirname \"$3\")\"; }\n";
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(format!("{show}{}", jobs.part()));
        let output = shell
            .env("TMPDIR", root.join("disk"))
            .env("SLURM_JOB_ID", "7")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "abcm-1.gguf\nm-2.gguf\n"
        );
        assert!(
            !root.join("disk/midlayer-7").exists(),
            "the copies are gone"
        );
    }
}
