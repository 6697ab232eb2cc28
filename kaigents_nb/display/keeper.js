// Runs in every page of JupyterLab or Notebook that shows a card, also after a reload. It has no view. What the kernel
// alone can't do: outputs are renewed by ids that a page forgets when it is reloaded, and a kernel that is gone does not
// say so. Elsewhere, and where this is not installed, the card is as it is without.
const VIEW = "application/vnd.jupyter.widget-view+json";
const GONE = ["starting", "restarting", "autorestarting", "terminating", "dead"];

export default {
  initialize({ model }) {
    const context = model.widget_manager.context;
    if (!context) return;
    const card = model.get("card");

    function keep() {
      const kept = model.get("kept");
      if (!kept["text/html"]) return;
      for (const cell of context.model.cells) {
        const outputs = cell.outputs;
        for (let at = 0; at < (outputs?.length ?? 0); at++) {
          const data = outputs.get(at).data;
          const page = [data["text/html"] ?? ""].flat().join("");
          const isOld = page.includes(`kaigents-kept-${card}"`) && page !== kept["text/html"];
          const hasEnded = model.get("ended") && data[VIEW]?.model_id === card;
          if (!isOld && !hasEnded) continue;
          const now = isOld ? kept : { "text/plain": "" };
          outputs.set(at, { output_type: "display_data", data: now, metadata: {} });
        }
      }
    }

    let restarted = false;
    function tell(silent) {
      for (const element of document.getElementsByClassName(`kaigents-live-${card}`)) {
        element.classList.toggle("kaigents-silent", silent || restarted);
      }
    }
    function onStatus(_, status) {
      restarted ||= GONE.includes(status);
      if (restarted) tell(true);
    }
    function onConnection(_, status) {
      tell(status !== "connected");
    }
    function onKernel() {
      restarted = true;
      tell(true);
    }

    const session = context.sessionContext;
    session.statusChanged.connect(onStatus);
    session.connectionStatusChanged.connect(onConnection);
    session.kernelChanged.connect(onKernel);
    model.on("change", keep);
    context.ready.then(keep);
    return () => {
      session.statusChanged.disconnect(onStatus);
      session.connectionStatusChanged.disconnect(onConnection);
      session.kernelChanged.disconnect(onKernel);
    };
  },
};
