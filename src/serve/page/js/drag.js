// Dragging by mouse, pen and finger alike. Browsers' own dragging leaves fingers out.
/** Lets an element be dragged onto others, which `over` selects; `drop` is told which. */
export function carries(handle, over, drop) {
    handle.addEventListener("pointerdown", (down) => {
        if (down.button !== 0)
            return;
        handle.releasePointerCapture?.(down.pointerId);
        let target = null;
        const mark = (next) => {
            target?.classList.remove("over");
            target = next;
            target?.classList.add("over");
        };
        const move = (event) => {
            handle.classList.add("carried");
            const under = document.elementFromPoint(event.clientX, event.clientY)?.closest(over);
            mark(under && !under.contains(handle) ? under : null);
        };
        const end = (event) => {
            removeEventListener("pointermove", move);
            removeEventListener("pointerup", end);
            removeEventListener("pointercancel", end);
            handle.classList.remove("carried");
            const found = target;
            mark(null);
            if (found && event.type === "pointerup")
                drop(found);
        };
        addEventListener("pointermove", move);
        addEventListener("pointerup", end);
        addEventListener("pointercancel", end);
    });
}
