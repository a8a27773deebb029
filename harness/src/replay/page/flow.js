// The flow view: who sends what to whom, as tokens that move between boxes.
(V => {
const svg = V.svg;
const flow = V.flow = { id: 'flow' };
let host, root, lines, boxes, moving, model, show, layout, router, legs, drawn, pool = [], wide = 0, tall = 0;

flow.mount = element => {
	host = element;
	lines = svg('g', { class: 'lines' });
	boxes = svg('g', { class: 'boxes' });
	moving = svg('g', { class: 'moving', 'aria-hidden': 'true' });
	root = svg('svg', { role: 'group', 'aria-label': 'Flow: who sends what to whom' },
		svg('defs', {}, svg('marker', { id: 'tip', viewBox: '0 0 8 8', refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: 'userSpaceOnUse', orient: 'auto' },
			svg('path', { d: 'M0 .8L8 4L0 7.2Z' }))), lines, boxes, moving);
	host.replaceChildren(root);
};

flow.layout = (given, times, W, H) => {
	model = given;
	show = times;
	legs = V.legs(model, show);
	wide = W;
	tall = H;
	layout = V.places(model, W, Math.max(300, H), !!V.roleActs);
	layout.gates = layout.boxes.some(b => b.gate);
	router = V.router(layout);
	root.setAttribute('viewBox', `0 0 ${W} ${layout.H}`);
	root.setAttribute('width', W);
	root.setAttribute('height', layout.H);
	lines.replaceChildren(...router.lines.map(line => line.node = svg('path', { d: line.path.d, class: 'link',
		'marker-end': layout.wide || line.to ? 'url(#tip)' : null, 'data-lane': line.lane })));
	drawn = null;
};

// What stands in the broker (without one: at its sender) at shown time `p`: [{m, out}] in the order in which it came.
function held(box, index, p, at) {
	const list = [];
	for (const m of model.order) {
		if (m.sent.index > index) break;
		if (box.gate ? m.reaches > p || (box.results !== undefined && V.result(m) !== box.results) : m.from !== box.lane) continue;
		if (m.leaves.some(l => l.a <= p && l.b > p)) continue;
		const coming = m.leaves.some(l => l.a > p);
		if (model.queues && box.gate) {
			if (m.settled <= index) continue;
			const got = m.received.filter(r => r.index <= index).pop();
			const lane = got && model.lane.get(got.lane);
			const out = !model.copies && got && !!lane && V.status(lane, index).there;
			list.push({ m, out });
		} else if (coming || (!m.received.length && m.entries.some(e => ['in flight', 'waiting'].includes(V.state(model, e, index, at))))) list.push({ m });
	}
	return list;
}

flow.draw = (index, p, at) => {
	const stacks = layout.boxes.map(b => b.gate || (!layout.gates && b.lane.place === 'from') ? held(b, index, p, at) : null);
	const key = index + ':' + stacks.map(s => s ? s.map(x => x.m.id + (x.out ? 'o' : '')).join() : '').join(';') + ':' + (model.live ? Math.floor(at / 5e8) : '') + V.actsKey;
	if (key === drawn) return;
	drawn = key;
	const was = root.contains(document.activeElement) ? document.activeElement : null;
	const focus = was && { message: was.getAttribute('data-message'), role: was.getAttribute('data-role'), at: [...boxes.querySelectorAll('[tabindex]')].indexOf(was) };
	for (const line of router.lines) {
		const s = V.status(model.lane.get(line.lane), index);
		const other = layout.boxes.find(b => b.gate);
		const down = other && !V.status(other.lane, index).there;
		line.node.setAttribute('class', 'link' + (!s.there || down ? ' away' : s.off ? ' off' : ''));
	}
	boxes.replaceChildren(...layout.boxes.map((b, i) => b.gate ? gate(b, stacks[i], index, at) : box(b, index, at, stacks[i] || [])));
	V.mark(root);
	if (focus) {
		const same = focus.role ? boxes.querySelector(`[data-role="${CSS.escape(focus.role)}"]`)
			: boxes.querySelector(`[data-message="${CSS.escape(focus.message || '')}"][tabindex]`) || [...boxes.querySelectorAll('[tabindex]')][Math.max(0, focus.at - 1)];
		if (same) same.focus({ preventScroll: true });
	}
	V.rove(root);
};

const text = (x, y, words, kind, anchor) => svg('text', { x, y, class: kind, 'text-anchor': anchor }, words);
const space = t => t.attempt > 1 ? 22 : t.kind === 'reply' ? 14 : 6;
// Tokens from `x` on, as many of the last as there is room for.
function row(list, x, y, room, where) {
	const out = [];
	let used = 0, first = list.length;
	while (first > 0) {
		const w = V.tokenWidth(list[first - 1].m) + space(list[first - 1]);
		if (used + w > room) break;
		used += w;
		first--;
	}
	for (const t of list.slice(first)) {
		const w = V.tokenWidth(t.m), more = t.attempt > 1 ? 4 : t.kind === 'reply' ? 5 : 0;
		out.push(place(V.token(t.m, t.kind, t), x + more + w / 2, y, t, where));
		x += w + space(t);
	}
	return { nodes: out, end: x, all: first === 0 };
}
function place(node, x, y, t, where) {
	node.setAttribute('transform', `translate(${x} ${y})`);
	node.setAttribute('tabindex', -1);
	node.setAttribute('role', 'button');
	node.setAttribute('aria-label', `message ${V.label(t.m)}, ${t.says || t.kind}, ${where}`);
	return node;
}

function gate(b, list, index, at) {
	const s = V.status(b.lane, index), name = V.clean(b.lane.name), says = V.said(b.lane, s);
	const g = svg('g', { class: 'box gate' + (s.there ? '' : ' gone'), 'data-role': b.lane.name, role: 'group', tabindex: 0 },
		svg('rect', { class: 'frame', x: b.x, y: b.y, width: b.w, height: b.h, rx: 6 }));
			g.append(text(b.x + 10, b.y + 20, V.fitName(name, b.w - 20), 'name'));
	if (b.results !== undefined) g.append(text(b.x + b.w - 10, b.y + 20, b.results ? 'results' : 'tasks', 'how', 'end'));
	if (says) g.append(text(b.x + 10, b.y + 37, V.fit(says, b.w - 20), 'state'));
	const count = V.depth(model, index, b.results);
	const own = b.results === true ? null : model.depths.filter(d => d.index <= index).pop();
	const words = [];
	if (model.queues) {
		words.push([`${count} waiting (inferred)`, 'how', 'Counted from the events: what was sent, minus what was settled. The broker did not say this.']);
		if (own) words.push([`${name} itself says ${own.count}`, 'how', V.clean(own.text || '')]);
	}
	g.setAttribute('aria-label', [name + ', broker', says, ...words.map(w => w[0])].filter(Boolean).join(', '));
	words.forEach(([say, kind, why], i) => {
		const t = b.cap ? text(b.x + b.w / 2, b.y + b.h + 18 + 17 * i, say, kind, 'middle') : text(b.x + b.w - 10, b.y + (b.results === undefined ? 20 : 37) + 17 * i, say, kind, 'end');
		t.append(svg('title', {}, why));
		g.append(t);
	});
	// The queue fills from below, the oldest first.
	const widest = list.reduce((n, t) => Math.max(n, V.tokenWidth(t.m)), 24) + 6;
	const across = Math.max(1, Math.floor((b.w - 14) / widest)), top = b.y + (b.cap ? 44 : 42);
	const rows = Math.max(1, Math.floor((b.y + b.h - 6 - top) / 24));
	const most = across * rows, over = list.length > most;
	const drawable = over ? list.slice(0, across * Math.max(1, rows - 1)) : list;
	drawable.forEach((t, i) => {
		const kind = t.out ? 'held' : model.queues ? 'queued' : 'message';
		const x = b.x + (b.w - across * widest) / 2 + (i % across + .5) * widest, y = b.y + b.h - 18 - 24 * Math.floor(i / across);
		g.append(place(V.token(t.m, kind), x, y, { m: t.m, kind, says: t.out ? 'handed out, not settled' : 'in the broker' }, name));
	});
	if (over) g.append(text(b.x + b.w / 2, top + 11, `and ${list.length - drawable.length} more`, 'how', 'middle'));
	const lost = b.results === true ? [] : pile(index, at, null);
	if (lost.length) {
		const y = b.y + b.h + 16 + 17 * words.length + (b.cap ? 6 : 0);
		g.append(...crossed(lost, b.cap ? b.x : b.x + 10, y, b.w, name));
	}
	return g;
}
function pile(index, at, lane) {
	const list = [];
	for (const m of model.order) {
		if (m.sent.index > index) break;
		for (const e of m.entries) {
			if (lane ? e.to !== lane.name : model.copies) continue;
			const state = V.state(model, e, index, at);
			if (state === 'missed' || state === 'lost') list.push({ m, kind: state });
		}
	}
	return list;
}
const tally = list => {
	const kinds = ['missed', 'lost'].map(k => [k, list.filter(t => t.kind === k).length]).filter(k => k[1]);
	return [kinds.map(k => k.join(' ')).join(', '), 'is-' + kinds[0][0]];
};
function crossed(list, x, y, room, where) {
	const [words, kind] = tally(list);
	const w = V.width(words) + 10, r = row(list, x, y, room - w, where);
	return [...r.nodes, text(r.nodes.length ? r.end + 2 : x, y + 4, words, kind)];
}

function box(b, index, at, stack) {
	const lane = b.lane, s = V.status(lane, index), name = V.clean(lane.name), says = V.said(lane, s);
	const never = s.how === 'not yet';
	const g = svg('g', { class: 'box' + (s.there ? (s.paused ? ' paused' : '') : never ? ' never' : ' gone') + (s.there && s.index === index && index > 0 && V.moves() ? ' fresh' : ''), 'data-role': lane.name, role: 'group', tabindex: 0 },
		svg('rect', { class: 'frame', x: b.x, y: b.y, width: b.w, height: b.h, rx: 6 }));
	const counts = V.counts(model, lane, index), x = b.x + 10, right = b.x + b.w - 10;
	const words = V.countWords(lane, counts);
	g.append(text(x, b.y + 20, V.fitName(name, b.w - 20), 'name'));
	let y = b.y + 20;
	const line = words.join(', ');
	if (b.narrow && !b.tight) {
		if (says) g.append(text(x, y += 18, V.fit(says, b.w - 20), 'state'));
		else y += 18;
		g.append(text(x, y += 18, V.fit(line, b.w - 20), 'count'));
	} else {
		const side = says || (b.tight && words[0]);
		if (side) g.append(text(right, y, V.fit(side, Math.max(60, b.w - 26 - V.width(name, '600 13px'))), says ? 'state' : 'count', 'end'));
		if (!b.tight) g.append(text(x, y += 18, V.fit(line, b.w - 20), 'count'));
	}
	const list = [...V.lastTokens(model, lane, index), ...stack.map(t => ({ m: t.m, kind: 'queued', says: 'not received yet' }))];
	const lost = model.copies && lane.place === 'to' ? pile(index, at, lane) : lane.place === 'from' && !layout.gates ? pile(index, at, null) : [];
	let room = b.w - 20;
	y += 22;
	if (b.tight && lost.length) {
		const [words, kind] = tally(lost);
		room -= V.width(words) + 8;
		g.append(text(right, y + 4, words, kind, 'end'));
	}
	g.append(...row(list, x, y, room, name).nodes);
	if (b.acts) g.append(...acts(lane, x, b.y + b.h - 26, b.w - 20));
	if (lost.length && !b.tight) g.append(...crossed(lost, b.x + 2, b.y + b.h + 16, b.w, name));
	g.setAttribute('aria-label', [name, lane.kind, says, ...words, lost.length ? 'missed or lost ' + lost.length : ''].filter(Boolean).join(', '));
	return g;
}
function acts(lane, x, y, room) {
	const list = V.roleActs(lane.name);
	const w = Math.floor((room - 6 * (list.length - 1)) / Math.max(1, list.length));
	return list.map((a, i) => svg('g', { class: 'do', role: 'button', tabindex: -1, 'aria-label': a.label + ' ' + lane.name,
		'aria-disabled': a.why === true ? null : 'true', 'data-act': a.act, 'data-of': lane.name, transform: `translate(${x + i * (w + 6)} ${y})` },
		svg('title', {}, a.why === true ? a.label + ' ' + V.clean(lane.name) : a.why),
		svg('rect', { width: w, height: 20, rx: 3 }), text(w / 2, 14, V.fit(V.width(a.label) + 6 < w ? a.label : a.brief, w - 4), '', 'middle')));
}

// Once per frame: only what is in flight moves.
flow.frame = p => {
	let used = 0;
	if (V.moves()) {
		for (const leg of legs) {
			if (leg.a > p) break;
			if (leg.b <= p || leg.b - leg.a < 1) continue;
			const path = router.route(leg.from, leg.to);
			if (!path) continue;
			let t = (p - leg.a) / (leg.b - leg.a);
			t = t * t * (3 - 2 * t);
			if (leg.kind === 'miss') t *= .82;
			const [x, y] = path.at(t);
			const kind = leg.kind === 'miss' ? (t > .6 ? 'missed' : 'message') : leg.kind;
			const key = leg.m.id + '/' + kind + '/' + (leg.attempt > 1 ? leg.attempt : 1);
			let slot = pool[used];
			if (!slot) pool.push(slot = { key: '' });
			if (slot.key !== key) {
				const node = V.token(leg.m, kind, leg);
				if (slot.node) slot.node.replaceWith(node); else moving.append(node);
				Object.assign(slot, { node, key });
			}
			slot.node.setAttribute('transform', `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
			used++;
		}
	}
	for (const slot of pool.splice(used)) slot.node.remove();
	const cut = model.cuts.some(i => p >= show[i] && p < show[i] + 1400);
	lines.setAttribute('class', cut ? 'lines cut' : 'lines');
};
})(View);
