// Dragging by mouse, pen and finger alike. Browsers' own dragging leaves fingers out.

/** Lets an element be dragged onto others, which `over` selects; `drop` is told which. */
export function carries(handle: HTMLElement, over: string, drop: (target: HTMLElement) => void): void {
  handle.addEventListener("pointerdown", (down) => {
    if (down.button !== 0) return;
    handle.releasePointerCapture?.(down.pointerId);
    let target: HTMLElement | null = null;
    const mark = (next: HTMLElement | null) => {
      target?.classList.remove("over");
      target = next;
      target?.classList.add("over");
    };
    const move = (event: PointerEvent) => {
      handle.classList.add("carried");
      const under = document.elementFromPoint(event.clientX, event.clientY)?.closest<HTMLElement>(over);
      mark(under && !under.contains(handle) ? under : null);
    };
    const end = (event: PointerEvent) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      handle.classList.remove("carried");
      const found = target;
      mark(null);
      if (found && event.type === "pointerup") drop(found);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  });
}
