// When each event is shown, and how messages travel between the shown times.
(V => {
const HOP = 420;
V.gap = ns => 220 + Math.min(900, 160 * Math.log10(1 + Math.max(0, ns) / 1e3));

// A saved record: all at once, at most a minute.
V.schedule = events => {
	const show = [];
	let t = 250;
	events.forEach((e, i) => { if (i) t += V.gap(e.at - events[i - 1].at); show.push(t); });
	const over = t / 60000;
	return over > 1 ? show.map(x => x / over) : show;
};
// A run that goes on: what is new is shown at once if nothing else is being shown.
V.extend = (show, events, shown) => {
	for (let i = show.length; i < events.length; i++) {
		const next = i ? show[i - 1] + V.gap(events[i].at - events[i - 1].at) : 0;
		const idle = !i || shown >= show[i - 1];
		show.push(idle ? Math.max(shown + 30, i ? show[i - 1] + 30 : 0) : next);
	}
};
V.last = (show, p) => {
	let low = 0, high = show.length;
	while (low < high) { const mid = (low + high) >> 1; if (show[mid] <= p) low = mid + 1; else high = mid; }
	return low - 1;
};
V.real = (events, show, p) => {
	const i = V.last(show, p);
	if (i < 0) return 0;
	if (i + 1 >= show.length) return events[i].at;
	const part = (p - show[i]) / Math.max(1e-9, show[i + 1] - show[i]);
	return events[i].at + (events[i + 1].at - events[i].at) * part;
};

// The legs of all messages: {m, kind, a, b, from, to, …}: from `a` to `b` (shown ms) between two places.
// `gate`: there is a broker. The moment at the broker is inferred: it is in no event.
V.legs = (model, show) => {
	const legs = [], gate = model.lanes.some(l => l.place === 'middle');
	for (const m of model.order) {
		if (!m.from) continue;
		const start = show[m.sent.index];
		const next = [m.confirmed, m.received[0]].filter(Boolean).map(x => show[x.index]).filter(x => x > start);
		const soon = next.length ? Math.min(...next) : start + 2 * HOP;
		m.reaches = start + Math.min(HOP, (soon - start) / 2);
		m.leaves = [];
		if (gate) legs.push({ m, kind: 'message', a: start, b: m.reaches, from: m.from.name, to: '' });
		for (const r of m.received) {
			const b = show[r.index], a = Math.max(gate ? m.reaches : start, b - (gate ? 1 : 1.6) * HOP);
			if (!model.lane.has(r.lane)) continue;
			m.leaves.push({ a, b, lane: r.lane });
			legs.push({ m, kind: 'message', a, b, from: gate ? '' : m.from.name, to: r.lane, attempt: r.attempt, index: r.index });
		}
		const z = show[m.last];
		for (const e of m.entries) {
			if (e.state !== 'missed' && e.state !== 'lost') continue;
			const a = Math.max(gate ? m.reaches : start, z - HOP);
			if (model.copies && z - a > 60) legs.push({ m, kind: 'miss', a, b: z, from: gate ? '' : m.from.name, to: e.to });
		}
		if (m.replied && m.answered && model.lane.has(m.replied.lane)) {
			const a = show[m.replied.index], b = show[m.answered.index], mid = (a + b) / 2;
			const one = Math.min(mid, a + HOP), two = Math.max(mid, b - HOP);
			if (gate) {
				legs.push({ m, kind: 'reply', a, b: one, from: m.replied.lane, to: '' });
				legs.push({ m, kind: 'reply', a: two, b, from: '', to: m.answered.lane });
			} else legs.push({ m, kind: 'reply', a: Math.max(a, b - 1.6 * HOP), b, from: m.replied.lane, to: m.answered.lane });
		}
	}
	return legs.sort((x, y) => x.a - y.a);
};
})(View);
