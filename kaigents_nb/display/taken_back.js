// JupyterLab runs no other cell while an input box is open, and leaves the box open when its question is taken back.
export default {
  initialize({ model }) {
    model.on("change:question", () => {
      model.widget_manager.context?.sessionContext.session?.kernel?.removeInputGuard?.();
      for (const asked of document.querySelectorAll(".jp-Stdin")) {
        const box = asked.querySelector("input");
        if (box === null || !asked.textContent.includes(model.get("question"))) continue;
        box.disabled = true;
        box.placeholder = "no longer asked";
      }
    });
  },
};
