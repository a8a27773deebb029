// The account, the details of a message, the legend, the summary, and what is chosen.
(V => {
const el = V.el;
// What a role has sent, received and done after event `index`.
V.counts = (model, lane, index) => {
	const c = { sent: 0, confirmed: 0, received: 0, again: 0, acked: 0, done: 0, replied: 0, answered: 0 };
	for (let i = 0; i <= index; i++) {
		const e = model.events[i];
		if (e.lane !== lane.name || !(e.what in c) || e.message === undefined) continue;
		c[e.what]++;
		if (e.what === 'received' && e.attempt > 1) c.again++;
	}
	return c;
};
V.countWords = (lane, c) => {
	const words = [];
	const add = (n, word) => { if (n) words.push(n + ' ' + word); };
	if (lane.place === 'from') { words.push(c.sent + ' sent'); add(c.confirmed, 'confirmed'); add(c.answered, 'answered'); add(c.received, 'received'); } else {
		words.push(c.received + ' received');
		add(c.again, 'again');
		add(c.done && c.done !== c.received ? c.done : 0, 'done');
		add(c.replied, 'replied');
		add(lane.place === 'work' ? c.sent : 0, 'sent');
	}
	return words;
};
V.lastTokens = (model, lane, index) => {
	const list = [];
	const acked = new Set();
	for (let i = index; i >= 0 && list.length < 12; i--) {
		const e = model.events[i];
		if (e.lane !== lane.name || e.message === undefined) continue;
		const m = model.messages.get(String(e.message));
		if (!m || !m.sent) continue;
		if (e.what === 'acked') acked.add(m.id);
		if (e.what === 'received') list.unshift({ m, kind: 'message', attempt: e.attempt || 1, check: acked.has(m.id), says: acked.has(m.id) ? 'received and acknowledged' : 'received' });
		if (e.what === 'answered') list.unshift({ m, kind: 'reply', says: 'reply received' });
	}
	return list;
};

V.table = (model, index, at) => {
	const receivers = model.lanes.filter(l => l.place === 'to' || l.place === 'work');
	const rows = new Map(receivers.map(l => [l.name, { delivered: 0, redelivered: 0, missed: 0, lost: 0, waiting: 0 }]));
	const all = { sent: 0, confirmed: 0, flight: 0 }, shared = { missed: 0, lost: 0, waiting: 0 };
	for (const m of model.order) {
		if (m.sent.index > index) continue;
		all.sent++;
		if (m.confirmed && m.confirmed.index <= index) all.confirmed++;
		for (const e of m.entries) {
			const state = V.state(model, e, index, at);
			if (state === 'in flight') all.flight++;
			const lane = model.copies ? e.to : '';
			if (state === 'delivered') { const r = rows.get(e.to); if (r) r.delivered++; }
			else if (state in shared) { const r = lane && rows.get(lane); if (r) r[state]++; else shared[state]++; }
		}
		for (const r of m.received) if (r.attempt > 1 && r.index <= index && rows.has(r.lane)) rows.get(r.lane).redelivered++;
	}
	const heads = ['delivered', 'redelivered', 'missed', 'lost', 'waiting'];
	const line = (name, counts) => el('tr', {}, el('th', { scope: 'row' }, V.short(name, 40)),
		...heads.map(h => el('td', { class: counts[h] ? (h === 'delivered' ? null : 'is-' + h) : 'none' }, counts[h] === undefined ? '–' : String(counts[h]))));
	V.get('rows').replaceChildren(...receivers.map(l => line(l.name, model.copies ? rows.get(l.name) : { delivered: rows.get(l.name).delivered, redelivered: rows.get(l.name).redelivered })),
		...(model.copies ? [] : [line('not received', shared)]));
	V.get('total').textContent = `${all.sent} sent, ${all.confirmed} confirmed` + (all.flight ? `, ${V.many(all.flight, 'delivery').replace('ys', 'ies')} in flight` : '');
	const counted = model.replay.counted;
	V.get('counted').textContent = counted > 0 ? `${V.many(counted, V.live ? 'earlier message' : 'other message')} ${counted === 1 ? 'is' : 'are'} counted and not drawn.` : '';
	return { all, rows, shared };
};

V.summary = (model, index, at, table) => {
	const parts = [`${V.many(table.all.sent, 'message')} sent`];
	for (const lane of model.lanes) {
		const s = V.status(lane, index), says = V.said(lane, s), r = table.rows.get(lane.name);
		if (!r && !says) continue;
		const bits = [];
		if (r) bits.push('received ' + V.counts(model, lane, index).received);
		if (says) bits.push('is ' + says);
		if (r && r.missed) bits.push('missed ' + r.missed);
		if (r && r.lost) bits.push('lost ' + r.lost);
		if (r && r.waiting) bits.push(r.waiting + ' waiting');
		parts.push(V.short(lane.name, 30) + ' ' + bits.join(', '));
	}
	for (const state of ['lost', 'waiting']) if (table.shared[state]) parts.push(table.shared[state] + ' ' + state);
	return parts.join('; ') + '.';
};

const WORDS = { due: 'Due', sent: 'Sent by', confirmed: 'Confirmed to', received: 'Received by', acked: 'Acknowledged by', nacked: 'Given back by',
	done: 'Done by', replied: 'Reply sent by', answered: 'Reply received by', failed: 'Failed at', dead: 'Dead letter at' };
V.details = (model, index, at) => {
	const m = V.chosen === null ? null : model.messages.get(V.chosen);
	const panel = V.get('details');
	if (!m) return panel.replaceChildren(el('p', { class: 'how' }, 'Point at a message, or choose it, to see its times.'));
	const list = [];
	let before = null;
	for (const i of m.events) {
		if (i > index) break;
		const e = model.events[i];
		const words = e.what === 'received' && e.attempt > 1 ? `↻ Received again by` : WORDS[e.what] || e.what;
		const extra = (e.what === 'received' && e.attempt > 1 ? `, delivery ${e.attempt}` : '') + (e.what === 'failed' && e.text ? ': ' + V.clean(e.text) : '');
		list.push(el('tr', {}, el('th', { scope: 'row' }, words + ' ', el('bdi', {}, V.clean(e.lane)), extra),
			el('td', {}, V.time(e.at)), el('td', { class: 'how' }, before === null ? '' : '+' + (e.at > before ? V.time(e.at - before) : '0'))));
		before = e.at;
	}
	const ends = (m.sent ? m.entries : []).map(e => [e, V.state(model, e, index, at)]).filter(x => x[1] && x[1] !== 'delivered')
		.map(([e, s]) => el('li', { class: 'is-' + s.replace(' ', '-') }, (e.to ? V.clean(e.to) + ': ' : '') + ({ missed: 'missed, it was not there', lost: 'lost', waiting: 'waiting', 'in flight': 'in flight' })[s],
			s === 'in flight' ? null : el('abbr', { title: 'Inferred: no event says that it was received.' }, ' (inferred)')));
	panel.replaceChildren(el('h3', {}, 'Message ', el('bdi', {}, V.short(m.id, 40)), m.topic !== undefined && el('span', { class: 'how' }, ' on topic ', el('bdi', {}, V.clean(m.topic))),
		m.about !== undefined && el('span', { class: 'how' }, ' from message ', el('bdi', {}, V.short(m.about, 40)))),
	m.text !== undefined && el('p', { class: 'foreign', dir: 'auto' }, V.clean(m.text)),
	el('table', { class: 'times' }, el('tbody', {}, ...list)), ends.length ? el('ul', {}, ...ends) : '');
};

// What is chosen is marked wherever it is drawn.
V.chosen = null;
V.mark = root => {
	for (const node of root.querySelectorAll('.chosen')) node.classList.remove('chosen');
	if (V.chosen !== null) for (const node of root.querySelectorAll(`[data-message="${CSS.escape(V.chosen)}"]`)) node.classList.add('chosen');
};
// One message of a view can be reached with Tab; the arrow keys go on from there.
const stops = new Map();
V.rove = root => {
	const focus = document.activeElement, old = stops.get(root), find = rest => root.querySelector(`[data-message${rest}][tabindex]`);
	const on = root.contains(focus) && focus.hasAttribute('data-message') ? focus : old && root.contains(old) ? old
		: (V.chosen !== null && find('="' + CSS.escape(V.chosen) + '"')) || find('');
	if (old && old !== on) old.setAttribute('tabindex', -1);
	if (on) on.setAttribute('tabindex', 0);
	stops.set(root, on);
};
V.choose = id => {
	if (V.chosen === id) return;
	V.chosen = id;
	for (const view of ['flow', 'space-time']) V.mark(V.get(view));
	V.redetail();
};
V.pick = root => {
	const near = e => e.target.closest && e.target.closest('[data-message]');
	for (const type of ['pointerover', 'focusin', 'click']) root.addEventListener(type, e => {
		const node = near(e);
		if (node) V.choose(node.getAttribute('data-message'));
	});
	root.addEventListener('keydown', e => {
		const node = near(e);
		if (!node || e.ctrlKey || e.altKey || e.metaKey) return;
		const way = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[e.key];
		const stops = [...root.querySelectorAll('[data-message][tabindex]')];
		const at = stops.indexOf(node);
		const next = e.key === 'Home' ? stops[0] : e.key === 'End' ? stops[stops.length - 1] : way && stops[at + way];
		if (way || next) { e.preventDefault(); e.stopPropagation(); }
		if (!next) return;
		next.focus();
		V.rove(root);
	});
};

V.legend = (model, view) => {
	const broker = model.lanes.some(l => l.place === 'middle'), any = what => model.events.some(e => e.what === what);
	const states = new Set(model.order.flatMap(m => m.entries.map(e => e.state)));
	const again = model.events.some(e => e.attempt > 1), flow = view === 'flow';
	const keys = [[true, 'message', flow ? 'message' : 'delivery'], [model.pattern === 'reqrep', 'reply', 'reply'], [again, 'again', '↻ delivered again'],
		[states.has('missed'), 'missed', 'missed: it was not there'], [states.has('lost'), 'lost', 'lost'], [states.has('waiting') || (flow && (model.queues || !broker)), 'queued', !flow ? 'waiting' : broker ? 'waits in the broker' : 'waits at the sender'],
		[flow && broker && model.queues && !model.copies, 'held', 'handed out, not settled'], [any('acked') || (!flow && any('confirmed')), 'check', flow ? 'acknowledged' : 'confirmed (sender), acknowledged (receiver)'],
		[any('killed') || any('left'), 'gone', 'away']];
	const inferred = [broker && 'the moment at the broker', broker && model.queues && 'the number waiting', ['missed', 'lost', 'waiting'].some(s => states.has(s)) && 'what was missed, lost or waits'].filter(Boolean);
	V.get('legend').replaceChildren(...keys.filter(k => k[0]).map(k => el('span', { class: 'key' }, symbol(k[1], flow), k[2])), inferred.length ? el('span', {}, 'Inferred, in no event: ' + inferred.join('; ') + '.') : '');
};
function symbol(kind, flow) {
	const s = V.svg('svg', { width: 30, height: 20, viewBox: '0 0 30 20', 'aria-hidden': 'true', class: 'is-' + kind });
	const crossed = kind === 'missed' || kind === 'lost', put = (name, d) => s.append(V.svg('path', { class: name, d }));
	if (kind === 'check') put('check', 'M11 10l3 4l6 -8');
	else if (kind === 'gone') put('life gone', 'M1 10H29');
	else if (flow) {
		const token = V.token({ id: '1' }, kind === 'again' ? 'message' : kind, { attempt: kind === 'again' ? 2 : 1 });
		token.setAttribute('transform', 'translate(15 10) scale(.8)');
		s.append(token);
	} else if (kind === 'queued') put('wait', 'M11 6h8v8h-8Z');
	else {
		put('line', 'M1 10H' + (crossed ? 20 : 23));
		put(crossed ? 'cross' : 'tip', crossed ? 'M18 6l8 8m0 -8l-8 8' : 'M29 10L21 6.5V13.5Z');
	}
	return s;
}
})(View);
