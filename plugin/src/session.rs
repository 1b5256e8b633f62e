//! What is behind one context's callback: which evaluation is running and what is done in it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{CStr, CString, c_char, c_void};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::SessionError;
use crate::ggml::{self, ggml_tensor};
use crate::graph::{Structure, looks_up_tokens, lookups, tensors};
use crate::hook::{Node, Observed, Tensor};
use crate::host::Host;
use crate::intervention::States;
use crate::plan::write_states;
use crate::requests::{Part, Texts};
use crate::running::{Running, rows_of, running};
use crate::source::{Ready, Source};

/// `ggml_backend_sched_eval_callback`.
pub type Callback = unsafe extern "C" fn(*mut ggml_tensor, bool, *mut c_void) -> bool;

struct State {
    host: &'static Host,
    source: Source,
    texts: Texts,
    structures: Vec<Arc<Structure>>,
    running: Option<Running>,
    /// Nodes of the evaluation that look tokens up too, and were not asked about yet.
    lookups: Vec<usize>,
    chained: Option<(Callback, usize)>,
    /// Of the node that was asked about last: whether we wait for it, whether the host does.
    waits: (bool, bool),
    /// After a panic nothing is done any more.
    broken: bool,
    /// See [`panic_on_purpose`].
    panics: bool,
    hits: u64,
    touched: u64,
    /// States of the latest texts.
    kept: VecDeque<(u64, States)>,
    error: Option<CString>,
    /// Every error that was told, once each, for as long as the session lives: the host has
    /// pointers to them.
    told: HashSet<CString>,
}

// SAFETY: the only pointers to nodes in it are those of a pass to nodes that it skips, and no node
// is skipped here: passes are made without a part to leave out. The host's callback and its data
// are used on the thread that ggml calls us on.
unsafe impl Send for State {}

/// Whether `MIDLAYER_SABOTAGE=panic` asks for a panic at the first node: it must not cross into the
/// host, and this is how that is seen.
fn panic_on_purpose() -> bool {
    std::env::var_os("MIDLAYER_SABOTAGE").is_some_and(|fault| fault == "panic")
}

/// How many different errors a session tells, and keeps.
const TOLD: usize = 1000;

/// What stands for errors beyond these, whose texts do not live as long as the session.
const TOO_MANY: &CStr =
    c"too many different errors to keep their texts: midlayer_copy_error has the last";

/// Texts whose states are held.
const KEPT: usize = 8;

/// A session: one plan for one context.
pub struct Session(Mutex<State>);

impl Session {
    /// A session in the process that we are in.
    pub fn new(host: &'static Host, source: Source) -> Self {
        Self(Mutex::new(State {
            host,
            source,
            texts: Texts::default(),
            structures: Vec::new(),
            running: None,
            lookups: Vec::new(),
            chained: None,
            waits: (false, false),
            broken: false,
            panics: panic_on_purpose(),
            hits: 0,
            touched: 0,
            kept: VecDeque::new(),
            error: None,
            told: HashSet::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host's own callback, to be called too.
    pub fn chain(&self, callback: Option<Callback>, user_data: *mut c_void) {
        self.state().chained = callback.map(|callback| (callback, user_data as usize));
    }

    /// (rows written, texts begun, texts touched) so far.
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.state();
        (state.hits, state.texts.next_number() - 1, state.touched)
    }

    /// The last error, for as long as the session lives.
    pub fn error(&self) -> Option<*const c_char> {
        let state = self.state();
        let error = state.error.as_ref()?;
        let kept = state.told.get(error).map(|kept| kept.as_ptr());
        Some(kept.unwrap_or(TOO_MANY.as_ptr()))
    }

    /// A copy of the last error.
    pub fn error_text(&self) -> Option<CString> {
        self.state().error.clone()
    }

    /// Writes the states kept of the latest text.
    ///
    /// # Errors
    /// [`SessionError`].
    pub fn save(&self, path: &Path) -> Result<(), SessionError> {
        let mut state = self.state();
        let outcome = match state.kept.back() {
            Some((_, states)) => write_states(path, states).map_err(SessionError::from),
            None => Err(SessionError::NoStates),
        };
        if let Err(error) = &outcome {
            state.note(error);
        }
        outcome
    }

    /// What ggml calls.
    ///
    /// # Safety
    /// `node` is the live node that ggml called with.
    pub unsafe fn call(&self, node: *mut ggml_tensor, ask: bool) -> bool {
        let (chained, waits) = {
            let state = self.state();
            (state.chained, state.waits)
        };
        // The host's callback runs without our lock: it may ask us something.
        let theirs = |ask: bool| {
            chained.is_some_and(|(callback, user_data)| {
                // SAFETY: the host's own callback and data, called as ggml would.
                unsafe { callback(node, ask, user_data as *mut c_void) }
            })
        };
        if ask {
            let ours = self.guarded(node, true);
            let theirs = theirs(true);
            self.state().waits = (ours, theirs);
            return ours || theirs;
        }
        if waits.0 {
            self.guarded(node, false);
        }
        !waits.1 || theirs(false)
    }

    /// Our part of the callback. Neither an error nor a panic leaves it.
    fn guarded(&self, node: *mut ggml_tensor, ask: bool) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.broken {
            return false;
        }
        let host = state.host;
        // Unwind safety: after a panic the state is not used for anything but messages.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            assert!(!state.panics, "on purpose");
            ggml::with(host, || {
                // SAFETY: ggml passes a live node of the graph that it evaluates.
                match unsafe { Node::from_raw(node) } {
                    Some(node) if ask => state.ask(node),
                    Some(node) => state.computed(node).map(|()| true),
                    None => Ok(false),
                }
            })
        }));
        match outcome {
            Ok(Ok(waits)) => waits,
            Ok(Err(error)) => {
                guard.running = None;
                guard.note(&error);
                false
            }
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(ToString::to_string);
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                guard.running = None;
                guard.broken = true;
                let text = text.unwrap_or_else(|| "no message".into());
                guard.note(&SessionError::Panicked(text));
                false
            }
        }
    }
}

impl State {
    /// Keeps an error, and says it once on stderr.
    fn note(&mut self, error: &SessionError) {
        let text = error.to_string().replace('\0', " ");
        let Ok(kept) = CString::new(text.as_str()) else {
            return;
        };
        self.error = Some(kept.clone());
        if self.told.len() < TOLD && self.told.insert(kept) {
            say(&text);
        }
    }

    fn ask(&mut self, node: Node<'_>) -> Result<bool, SessionError> {
        if looks_up_tokens(*node) && !self.is_other_lookup(*node) {
            if let Some(early) = self.running.take() {
                self.note(&SessionError::Early(early.text()));
            }
            self.begin(*node)?;
        }
        let Some(running) = &self.running else {
            return Ok(false);
        };
        if node.id() == running.result {
            self.end()?;
            return Ok(false);
        }
        let Some(&index) = running.wanted.get(&node.id()) else {
            return Ok(false);
        };
        let text = running.text();
        let fault = |fault| SessionError::Fault { text, fault };
        running.pass.expect(index, node).map_err(fault)?;
        Ok(true)
    }

    fn computed(&mut self, node: Node<'_>) -> Result<(), SessionError> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let text = running.text();
        let fault = |fault| SessionError::Fault { text, fault };
        match running.wanted.get(&node.id()) {
            Some(&index) => running.pass.show(index, node).map_err(fault),
            None => Ok(()),
        }
    }

    /// A graph may look tokens up in several ways, of which one is used. Each of them is asked
    /// about once.
    fn is_other_lookup(&mut self, node: Tensor<'_>) -> bool {
        let others = self.lookups.len();
        self.lookups.retain(|id| *id != node.id());
        self.lookups.len() < others
    }

    /// An evaluation begins: `first` looks up its tokens.
    fn begin(&mut self, first: Tensor<'_>) -> Result<(), SessionError> {
        // Tokens that follow outputs are left alone, and it does not take the whole graph to see.
        let head = self.structures.iter().map(|s| s.head()).max();
        if let Some(head) = head {
            let chain = tensors(first, head);
            self.lookups = lookups(&chain);
            let known = self.structures.iter().find(|s| s.begins(&chain));
            if let Some(structure) = known {
                let rows = structure.rows(&chain)?;
                if !self.texts.may_begin(&rows) {
                    self.texts.add(&rows, 0)?;
                    return Ok(());
                }
            }
        }
        let chain = tensors(first, usize::MAX);
        self.lookups = lookups(&chain);
        let known = self.structures.iter().find(|s| s.is_of(&chain)).cloned();
        let structure = match known {
            Some(structure) => structure,
            None => {
                let structure = Arc::new(Structure::of(&chain)?);
                if self.structures.len() >= 8 {
                    self.structures.remove(0);
                }
                self.structures.push(structure.clone());
                structure
            }
        };
        let rows = structure.rows(&chain)?;
        if self.texts.may_begin(&rows)
            && let Err(error) = self.source.refresh(self.texts.next_number())
        {
            self.note(&error.into());
        }
        let (latest, _) = self.source.plan(self.texts.next_number());
        let before = self.texts.next_number();
        let runs = self.texts.add(&rows, latest.plan.shortest as usize)?;
        let mut texts = HashMap::new();
        for (n, run) in (0..).zip(&runs) {
            if let Part::Prompt(number) = run.part {
                let (ready, own) = self.source.plan(number);
                if ready.plan.requests.selects(own) {
                    self.touched += u64::from(number >= before);
                    texts.insert(n, (number, ready.clone()));
                }
            }
        }
        if texts.is_empty() {
            return Ok(());
        }
        for (_, ready) in texts.values() {
            ready.check(structure.layers, structure.width)?;
        }
        let rows = rows_of(&runs, &rows);
        self.running = Some(running(&structure, &chain, rows, texts)?);
        Ok(())
    }

    /// The evaluation has reached its last node.
    fn end(&mut self) -> Result<(), SessionError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let text = running.text();
        let fault = |fault| SessionError::Fault { text, fault };
        let observed = running.pass.finish_evaluation().map_err(fault)?;
        let touched = observed.touched.values().flatten();
        self.hits += touched.map(|t| t.rows as u64).sum::<u64>();
        self.keep(observed, &running.texts)
    }

    fn keep(
        &mut self,
        observed: Observed,
        texts: &HashMap<u32, (u64, Arc<Ready>)>,
    ) -> Result<(), SessionError> {
        for (run, captured) in observed.states {
            let Some((number, ready)) = texts.get(&run) else {
                continue;
            };
            let Some(keep) = &ready.plan.capture else {
                continue;
            };
            let held = self.kept.iter().position(|(held, _)| held == number);
            let held = held.unwrap_or_else(|| {
                self.kept.push_back((*number, States::new()));
                self.kept.len() - 1
            });
            self.kept[held].1.extend(captured.inputs);
            if let Some(file) = &keep.file {
                let path = numbered(&ready.folder.join(file), *number);
                write_states(&path, &self.kept[held].1)?;
            }
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
        }
        Ok(())
    }
}

/// `states.safetensors` as `states.3.safetensors`.
fn numbered(path: &Path, number: u64) -> PathBuf {
    let extension = path.extension().map(|e| e.to_string_lossy().into_owned());
    let extension = extension.unwrap_or_else(|| "safetensors".into());
    path.with_extension(format!("{number}.{extension}"))
}

/// One line on stderr.
pub fn say(text: &str) {
    // A host may have closed it.
    let _ = writeln!(std::io::stderr(), "midlayer: {text}");
}
