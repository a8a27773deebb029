// The space-time view: one lifeline per role, time downward, an arrow per delivery.
(V => {
const svg = V.svg;
const view = V.spacetime = { id: 'space-time' };
let host, heads, root, bands, lives, layer, growing, now, model, show, xs, ys, W, left, total;
let items = [], shown = new Set(), kept = new Map(), flights = [], drawn = null, follow = true;

view.mount = element => {
	host = element;
	heads = svg('svg', { class: 'heads', 'aria-hidden': 'true', preserveAspectRatio: 'xMinYMin' });
	bands = svg('g', { class: 'bands' });
	lives = svg('g', { class: 'lives' });
	layer = svg('g', { class: 'marks' });
	growing = svg('path', { class: 'growing' });
	now = svg('path', { class: 'now' });
	root = svg('svg', { role: 'group', 'aria-label': 'Space-time: one line per role, time goes down', class: 'body' }, bands, lives, growing, layer, now);
	host.replaceChildren(heads, root);
	root.addEventListener('click', e => {
		if (e.target.closest('[data-message]') || !ys.length) return;
		const box = root.getBoundingClientRect();
		if (e.clientX - box.left > left) return;
		const y = e.clientY - box.top;
		let best = 0;
		ys.forEach((v, i) => { if (Math.abs(v - y) < Math.abs(ys[best] - y)) best = i; });
		V.player.to(show[best] + .5);
	});
	for (const type of ['wheel', 'touchmove']) host.addEventListener(type, () => { follow = false; }, { passive: true });
};
view.follow = () => { follow = true; };

view.layout = (given, times, width) => {
	model = given;
	show = times;
	const n = Math.max(1, model.lanes.length), small = width < 640;
	left = small ? 66 : 96;
	const right = small ? 12 : n > 6 ? 34 : 64;
	let gap = (width - left - right) / n;
	if (n > 4) gap = Math.max(gap, small ? 86 : 70);
	W = Math.round(left + gap * n + right);
	xs = model.lanes.map((_, i) => Math.round(left + gap * (i + .5)) + .5);
	heads.replaceChildren(...model.lanes.map((l, i) => svg('text', { x: xs[i], y: 20, 'text-anchor': 'middle', class: 'name' }, V.fitName(l.name, gap - 8, '600 12px'),
		svg('title', {}, V.clean(l.name) + ', ' + l.kind))), svg('text', { x: left - 14, y: 20, 'text-anchor': 'end', class: 'how' }, 'time'));
	size(heads, W, 32);
	rows();
	items = [];
	flights = [];
	build(gap, small);
	items.sort((a, b) => a.index - b.index);
	size(root, W, total);
	const keys = new Set(items.map(i => i.key));
	for (const key of [...shown]) if (!keys.has(key)) { kept.get(key).node.remove(); shown.delete(key); kept.delete(key); }
	drawn = null;
};
const size = (node, w, h) => { node.setAttribute('width', w); node.setAttribute('height', h); node.setAttribute('viewBox', `0 0 ${w} ${h}`); };

// Rows: never closer than a line of text; long gaps are short, and marked with their length.
function rows() {
	const ds = model.events.map((e, i) => i ? e.at - model.events[i - 1].at : 0).filter(d => d > 0).sort((a, b) => a - b);
	const long = Math.max(1e6, 30 * (ds[ds.length >> 1] || 0));
	let y = 20;
	ys = [];
	const marks = [];
	model.events.forEach((e, i) => {
		const d = i ? e.at - model.events[i - 1].at : 0;
		if (i) y += 17 + Math.min(9, 2 * Math.log10(1 + d / 1e3));
		if (i && d > long) {
			marks.push({ y: y + 1, d, index: i });
			y += 26;
		}
		ys.push(Math.round(y * 2) / 2);
	});
	total = Math.round(y + 30);
	view.marks = marks;
}
const yAt = p => {
	const i = V.last(show, p);
	if (i < 0) return ys.length ? ys[0] - 12 : 20;
	if (i + 1 >= ys.length) return ys[i] + Math.min(12, Math.max(0, p - show[i]) / 40);
	return ys[i] + (ys[i + 1] - ys[i]) * (p - show[i]) / Math.max(1e-9, show[i + 1] - show[i]);
};

const item = (key, index, sig, make, ready) => items.push({ key, index, sig, make, ready });
const path = points => 'M' + points.map(p => p[0] + ' ' + p[1]).join('L');
const head = (a, b) => {
	const turn = Math.atan2(b[1] - a[1], b[0] - a[0]);
	const spread = (r, t) => (b[0] - r * Math.cos(turn + t)).toFixed(1) + ' ' + (b[1] - r * Math.sin(turn + t)).toFixed(1);
	return svg('path', { class: 'tip', d: `M${b[0]} ${b[1]}L${spread(8, .38)}L${spread(8, -.38)}Z` });
};
const text = (x, y, words, kind, anchor) => svg('text', { x, y: y + 4, class: kind, 'text-anchor': anchor }, words);

function build(gap, small) {
	const middle = model.lanes.findIndex(l => l.place === 'middle'), xb = middle < 0 ? null : xs[middle];
	const X = name => { const lane = model.lane.get(name); return lane ? xs[lane.index] : null; };
	view.marks.forEach(b => item('gap' + b.index, b.index, b.y + '/' + W, () => svg('g', { class: 'band' },
		svg('rect', { x: 0, y: b.y - 8, width: W, height: 18 }), text(left - 14, b.y + 1, '+' + V.time(b.d), 'how', 'end'),
		small ? null : text(W - 8, b.y + 1, 'gap, not to scale', 'how', 'end'))));
	let before = '';
	model.events.forEach((e, i) => {
		const words = V.time(e.at, true);
		if (words !== before) item('t' + i, i, ys[i] + words, () => text(left - 14, ys[i], words, 'time', 'end'));
		before = words;
		happened(e, i, X(e.lane), gap, small);
	});
	for (const m of model.order) {
		if (!m.from) continue;
		const x = xs[m.from.index], y = ys[m.sent.index], id = V.label(m);
		const yb = y + 8, to = m.received.length ? X(m.received[0].lane) : null, left = (xb === null ? to : xb) < x && (xb !== null || to !== null), out = xb !== null && xb !== x ? [[x, y], [xb, yb]] : [[x, y]];
		item('sent/' + m.id, m.sent.index, [x, y, xb].join(), () => svg('g', { class: 'post', 'data-message': m.id },
			out.length > 1 && svg('path', { class: 'line', d: path(out) }), svg('circle', { cx: x, cy: y, r: 3 }), left ? text(x + 8, y, id, 'id') : text(x - 8, y, id, 'id', 'end')));
		m.received.forEach((r, k) => arrow(m, r, k, out, X, xb, yb));
		m.entries.filter(e => !e.got.length).forEach((e, k) => miss(m, e, k, out, X, xb));
		if (m.replied && X(m.replied.lane) !== null) {
			const a = m.replied, b = m.answered, xa = X(a.lane), ya = ys[a.index];
			if (!b) continue;
			const points = [[xa, ya]];
			if (xb !== null) points.push([xb, Math.min(ya + 8, (ya + ys[b.index]) / 2)]);
			points.push([X(b.lane), ys[b.index]]);
			flights.push({ a: show[a.index], b: show[b.index], points });
			item('reply/' + m.id, b.index, points.join(), () => svg('g', { class: 'reply', 'data-message': m.id },
				svg('path', { class: 'line', d: path(points) }), head(points[points.length - 2], points[points.length - 1]),
				svg('path', { class: 'diamond', d: `M${xa - 5} ${ya}l5 -5l5 5l-5 5Z` }), text(X(b.lane) - 8, ys[b.index], id, 'id soft', 'end')));
		}
	}
}

function arrow(m, r, k, out, X, xb, yb) {
	const x = X(r.lane), y = ys[r.index];
	if (x === null) return;
	const entry = m.entries.find(e => e.got.includes(r)) || m.entries[0];
	const again = r.attempt > 1, points = out.slice();
	const leave = Math.max(yb || 0, y - (model.queues ? 9 : 16)), later = xb !== null && leave > yb, stay = later && model.queues;
	if (later) points.push([xb, leave]);
	points.push([x, y]);
	const state = entry.state;
	flights.push({ a: show[m.sent.index], b: show[r.index], points });
	item(`to/${m.id}/${r.lane}/${k}`, r.index, points.join() + state + r.attempt, () => {
		const last = points[points.length - 2], way = x < last[0] ? -1 : 1;
		const line = xb !== null && out.length > 1 ? points.slice(1) : points;
		return focusable(svg('g', { class: 'arrow' + (again ? ' again' : '') + (state === 'delivered' ? '' : ' is-' + state), 'data-message': m.id, 'data-to': r.lane, 'data-attempt': r.attempt, 'data-state': state },
			svg('path', { class: 'grip', d: path(line) }),
			stay && svg('path', { class: 'stay', d: path([[xb, yb], [xb, leave]]) }),
			svg('path', { class: 'line', d: path(stay ? line.slice(-2) : line) }), head(last, [x, y]),
			text(x + way * 8, y + 2, V.label(m) + (again ? ' ↻' : ''), 'id soft', way < 0 ? 'end' : 'start')),
		m, `message ${V.label(m)} to ${V.clean(r.lane)}, ${again ? 'redelivered' : state}, ${V.time(r.at - m.sent.at)} after it was sent`);
	});
}

function miss(m, e, k, out, X, xb) {
	const start = out[out.length - 1], to = e.to ? X(e.to) : null, state = e.state;
	const next = model.lanes.find(l => l.place === 'work' && m.from.place === 'from') || model.lanes.find(l => l.place === 'to');
	let end;
	if (state === 'waiting') end = xb !== null ? start : [start[0] + 22, start[1] + 5];
	else if (state === 'delivered') end = [(m.replied && X(m.replied.lane)) || (next ? xs[next.index] : start[0] + 30), start[1] + 8];
	else if (to !== null) end = [to - (to > start[0] ? 13 : -13), start[1] + Math.max(1, 11 - 6 * k)];
	else end = next ? [start[0] + (xs[next.index] - start[0]) * .5, start[1] + 7] : [start[0] + 30, start[1] + 6];
	const ready = (index, at) => V.state(model, e, index, at) === state;
	item(`not/${m.id}/${e.to}`, m.last, [start, end, state].join(), () => focusable(svg('g', { class: 'arrow is-' + state, 'data-message': m.id, 'data-to': e.to, 'data-attempt': 0, 'data-state': state },
		svg('path', { class: 'grip', d: path([start, end]) }), svg('path', { class: 'line', d: path([start, end]) }),
		state === 'waiting' ? svg('path', { class: 'wait', d: `M${end[0] - 4} ${end[1] - 4}h8v8h-8Z` })
			: state === 'delivered' ? head(start, end) : svg('path', { class: 'cross', d: `M${end[0] - 4.5} ${end[1] - 4.5}l9 9m0 -9l-9 9` })),
	m, `message ${V.label(m)}${e.to ? ' to ' + V.clean(e.to) : ''}, ${state}`), ready);
}
function focusable(g, m, words) {
	g.setAttribute('tabindex', -1);
	g.setAttribute('role', 'button');
	g.setAttribute('aria-label', words);
	return g;
}

const check = (x, y) => svg('path', { class: 'check', d: `M${x} ${y}l2.5 3l5 -6` });
function happened(e, i, x, gap, small) {
	const y = ys[i], m = e.message !== undefined && e.message !== null && model.messages.get(String(e.message));
	const put = (kind, nodes) => item('e' + i, i, [x, y, e.what].join(), () => svg('g', { class: 'event ' + kind, 'data-message': m ? m.id : null }, ...nodes()));
	const what = e.what;
	if (what === 'cut' || what === 'note') {
		const words = what === 'cut' ? 'every connection is cut' : e.text || '';
		const from = x === null ? left : x + 10;
		const room = W - from - 12;
		return item('e' + i, i, [y, W, words].join(), () => svg('g', { class: 'event ' + what }, what === 'cut' && svg('path', { d: `M${from + V.width(words) + 12} ${y}H${W}` }),
			text(from + 4, y, V.fit(words, room), what, 'start')));
	}
	if (x === null) return;
	const turn = x + V.width(what) + 24 > W, side = turn ? x - 10 : x + 10, anchor = turn ? 'end' : 'start';
	const room = turn ? x - left : Math.max(gap - 20, W - x - 16 > gap * 1.6 ? gap * 1.5 : W - x - 16);
	if (m && m.sent) {
		const id = V.label(m);
		if (what === 'confirmed') put('confirm', () => [check(x - 13, y), text(x - 17, y, id, 'id soft', 'end')]);
		else if (what === 'acked') put('ack', () => [check(x + 6, y), text(x + 17, y, id, 'id soft')]);
		else if (what === 'done') put('did', () => [svg('rect', { x: x - 3.5, y: y - 3.5, width: 7, height: 7 }), text(x + 8, y, 'done ' + id, 'id soft')]);
		else if (what === 'nacked' || what === 'dead') put('bad', () => [text(side, y, (what === 'dead' ? 'dead letter ' : 'given back ') + id, 'say bad', anchor)]);
		else if (what === 'failed') put('bad', () => [text(side, y, V.fit(id + ' failed: ' + (e.text || ''), room), 'say bad', anchor)]);
		return;
	}
	if (what === 'due') return;
	if (what === 'depth') return put('depth', () => [text(side, y, 'says ' + e.count, 'say', anchor)]);
	if (what === 'killed') return put('bad', () => [svg('path', { class: 'cross', d: `M${x - 6} ${y - 6}l12 12m0 -12l-12 12` }), text(side, y, 'killed', 'say bad', anchor)]);
	const words = what === 'failed' ? 'failed: ' + (e.text || '') : what === 'slowed' && e.text ? 'slower: ' + e.text : what === 'quick' ? 'quick again' : what;
	if (what !== 'sent') put('life', () => [svg('circle', { class: 'turn', cx: x, cy: y, r: 3.5 }), text(side, y, V.fit(words, Math.max(room, 60)), 'say', anchor)]);
}

view.draw = (index, p, at) => {
	const key = index + ':' + (model.live ? Math.floor(at / 5e8) : '');
	if (key === drawn) return;
	drawn = key;
	const fresh = document.createDocumentFragment();
	for (const it of items) {
		const wanted = it.index <= index && (!it.ready || it.ready(index, at));
		const old = kept.get(it.key);
		if (!wanted) {
			if (shown.delete(it.key)) old.node.remove();
			continue;
		}
		if (old && old.sig === it.sig) {
			if (!shown.has(it.key)) { fresh.append(old.node); shown.add(it.key); }
			continue;
		}
		const node = it.make();
		if (old && shown.has(it.key)) old.node.replaceWith(node); else fresh.append(node);
		kept.set(it.key, { node, sig: it.sig });
		shown.add(it.key);
	}
	layer.append(fresh);
	const lowest = index < 0 ? 8 : ys[index] + 12;
	lives.replaceChildren(...model.lanes.flatMap((lane, k) => lane.history.map((h, j) => {
		if (h.index > index) return null;
		const y1 = h.index < 0 ? 0 : ys[h.index], after = lane.history[j + 1];
		const y2 = after && after.index <= index ? ys[after.index] : lowest;
		return y2 > y1 && svg('path', { class: 'life ' + (h.there ? (h.paused ? 'paused' : h.off ? 'off' : 'there') : h.how === 'not yet' ? 'never' : 'gone'), d: `M${xs[k]} ${y1}V${y2}` });
	})).filter(Boolean));
	V.mark(root);
	V.rove(root);
};

view.frame = p => {
	const y = yAt(p);
	now.setAttribute('d', `M${left - 8} ${y.toFixed(1)}H${W}`);
	let d = '';
	if (V.moves()) for (const f of flights) {
		if (f.a > p || f.b <= p) continue;
		d += 'M' + f.points[0].join(' ');
		for (let i = 1; i < f.points.length; i++) {
			const a = f.points[i - 1], b = f.points[i];
			if (b[1] <= y) { d += 'L' + b.join(' '); continue; }
			const part = Math.max(0, Math.min(1, (y - a[1]) / ((b[1] - a[1]) || 1)));
			d += 'L' + (a[0] + (b[0] - a[0]) * part).toFixed(1) + ' ' + (a[1] + (b[1] - a[1]) * part).toFixed(1);
			break;
		}
	}
	growing.setAttribute('d', d || 'M0 0');
	if (follow && !host.hidden) {
		const room = host.clientHeight - 32, top = host.scrollTop;
		if (y > top + room * .8 || y < top) host.scrollTop = Math.max(0, y - room * .72);
	}
};
})(View);
