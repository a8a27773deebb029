// Tokens and paths of the flow view, and where its boxes stand.
(V => {
const svg = V.svg;
// Of a long name the end is shown: that is where the number stands.
V.label = m => {
	const signs = [...V.clean(m.id)];
	return signs.length > 7 ? '…' + signs.slice(-6).join('') : signs.join('');
};
V.tokenWidth = m => Math.max(24, Math.ceil(V.width(V.label(m))) + 10);

// A message as a small labelled shape around (0, 0). `kind`: message, reply, missed, lost, held.
V.token = (m, kind, more = {}) => {
	const w = V.tokenWidth(m) / 2, h = 9, again = more.attempt > 1;
	const shape = kind === 'reply' ? svg('path', { d: `M${-w - 5} 0 L${-w + 2} ${-h} H${w - 2} L${w + 5} 0 L${w - 2} ${h} H${-w + 2} Z` })
		: svg('rect', { x: -w, y: -h, width: 2 * w, height: 2 * h, rx: 3 });
	shape.setAttribute('class', 'shape');
	const crossed = kind === 'missed' || kind === 'lost';
	return svg('g', { class: 'token is-' + kind + (again ? ' again' : ''), 'data-message': m.id },
		again && svg('rect', { class: 'ring', x: -w - 3, y: -h - 3, width: 2 * w + 6, height: 2 * h + 6, rx: 5 }),
		shape,
		svg('text', { y: 4, 'text-anchor': 'middle' }, V.label(m)),
		crossed && svg('path', { class: 'cross', d: `M${-w} ${h} L${w} ${-h}` }),
		again && svg('text', { class: 'mark', x: w + 5, y: 4 }, '↻'),
		more.check && svg('path', { class: 'check', d: `M${w - 6} ${h - 1} l2.5 3 l5 -6` }));
};

V.polyline = points => {
	const lengths = [0];
	for (let i = 1; i < points.length; i++) lengths.push(lengths[i - 1] + Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]));
	const all = lengths[lengths.length - 1] || 1;
	return { d: 'M' + points.map(p => p.join(' ')).join('L'), at(t) {
		const s = t * all;
		let i = 1;
		while (i < points.length - 1 && lengths[i] < s) i++;
		const part = (s - lengths[i - 1]) / ((lengths[i] - lengths[i - 1]) || 1);
		return [0, 1].map(k => points[i - 1][k] + (points[i][k] - points[i - 1][k]) * part);
	} };
};
V.curve = (x1, y1, x2, y2) => {
	const c = (x2 - x1) * .5;
	return { d: `M${x1} ${y1}C${x1 + c} ${y1} ${x2 - c} ${y2} ${x2} ${y2}`, at(t) {
		const u = 1 - t, a = u * u * u, b = 3 * u * u * t, e = 3 * u * t * t, f = t * t * t;
		return [a * x1 + b * (x1 + c) + e * (x2 - c) + f * x2, (a + b) * y1 + (e + f) * y2];
	} };
};
V.back = path => ({ d: path.d, at: t => path.at(1 - t) });

// Where each box stands: columns from left to right, or one below the other on a narrow screen.
V.places = (model, W, H, acts) => {
	const of = place => model.lanes.filter(l => l.place === place);
	const broker = of('middle')[0];
	const work = of('work'), two = work.length > 0 && broker;
	const columns = [];
	const gate = results => broker && columns.push({ gate: true, broker, results });
	if (of('from').length) columns.push({ lanes: of('from') });
	gate(two ? false : undefined);
	if (work.length) columns.push({ lanes: work });
	if (two) gate(true);
	if (of('to').length) columns.push({ lanes: of('to') });
	return W >= 640 ? across(model, columns, W, H, acts) : down(model, columns, W, acts);
};

const PILE = 26;
function across(model, columns, W, H, acts) {
	const gates = columns.filter(c => c.gate).length, roles = columns.length - gates;
	const gw = gates > 1 ? 118 : 156, gapLeast = gates > 1 ? 46 : 64, edge = 4;
	const room = W - 2 * edge;
	const bw = Math.min(236, Math.floor((room - gates * gw - (columns.length - 1) * gapLeast) / Math.max(1, roles)));
	const gap = columns.length > 1 ? Math.min(210, (room - gates * gw - roles * bw) / (columns.length - 1)) : 0;
	let x = edge + (room - gates * gw - roles * bw - gap * (columns.length - 1)) / 2;
	const boxes = [], narrow = bw < 200;
	for (const column of columns) {
		if (column.gate) {
			const h = model.queues ? Math.min(H - 90, 300) : Math.min(H - 90, 132);
			boxes.push({ gate: true, lane: column.broker, results: column.results, x, y: (H - h) / 2, w: gw, h, cap: true });
			x += gw + gap;
			continue;
		}
		const full = (narrow ? 96 : 78) + (acts ? 28 : 0), slotLeast = H / column.lanes.length;
		const brief = gates && column.lanes[0].place === 'from' && model.pattern !== 'reqrep' ? 26 : 0;
		const tight = full + PILE + 8 > slotLeast;
		const h = tight ? Math.min(60 + (acts && slotLeast > 98 ? 28 : 0), slotLeast - 6) : full - brief;
		const slot = tight ? slotLeast : Math.min(slotLeast, full + PILE + 48);
		let y = (H - slot * column.lanes.length) / 2 + (tight ? (slot - h) / 2 : (slot - h - PILE) / 2);
		for (const lane of column.lanes) { boxes.push({ lane, x, y, w: bw, h, tight, narrow, acts: acts && h >= 78 }); y += slot; }
		x += bw + gap;
	}
	return { wide: true, boxes, W, H };
}
function down(model, columns, W, acts) {
	const boxes = [], x = 36, w = W - x - 4;
	let y = 4;
	for (const column of columns) {
		if (column.gate) {
			const h = model.queues ? 108 : 64;
			boxes.push({ gate: true, lane: column.broker, results: column.results, x, y, w, h });
			y += h + 26;
			continue;
		}
		for (const lane of column.lanes) {
			const h = (lane.place === 'from' && model.pattern !== 'reqrep' && columns.some(c => c.gate) ? 50 : 78) + (acts ? 30 : 0);
			boxes.push({ lane, x, y, w, h, narrow: w < 240, acts });
			// Below it lies what it missed; below the last sender, what nobody got from peer to peer.
			const last = lane === column.lanes[column.lanes.length - 1] && lane.place === 'from' && !columns.some(c => c.gate);
			y += h + (last || (model.copies && lane.place === 'to') ? PILE + 8 : 14);
		}
		y += 10;
	}
	return { wide: false, boxes, W, H: y };
}

// The path from one box to another; `''` stands for the broker.
V.router = layout => {
	const role = new Map(layout.boxes.filter(b => !b.gate).map(b => [b.lane.name, b]));
	const gates = layout.boxes.filter(b => b.gate);
	const known = new Map();
	const gateFor = (box, leaving) => !gates.length ? null : box.lane.place === 'from' ? gates[0]
		: box.lane.place === 'work' ? gates[leaving ? gates.length - 1 : 0] : gates[gates.length - 1];
	const join = (a, b) => {
		if (!layout.wide) return V.polyline([[a.x, a.y + a.h / 2], [18, a.y + a.h / 2], [18, b.y + b.h / 2], [b.x, b.y + b.h / 2]]);
		if (a.x > b.x) return V.back(join(b, a));
		const inner = (box, other) => box.gate ? box.y + box.h / 2 + Math.max(-.36 * box.h, Math.min(.36 * box.h, (other.y + other.h / 2 - box.y - box.h / 2) * .25)) : box.y + box.h / 2;
		if (a.x === b.x) return V.polyline([[a.x + a.w, a.y + a.h / 2], [a.x + a.w + 24, a.y + a.h / 2], [a.x + a.w + 24, b.y + b.h / 2], [b.x + b.w, b.y + b.h / 2]]);
		return V.curve(a.x + a.w, inner(a, b), b.x, inner(b, a));
	};
	const route = (from, to) => {
		const key = from + '\n' + to;
		if (!known.has(key)) {
			const a = role.get(from), b = role.get(to);
			const start = a || (b && gateFor(b, false)), end = b || (a && gateFor(a, true));
			known.set(key, start && end && start !== end ? join(start, end) : null);
		}
		return known.get(key);
	};
	// The lines that are always drawn.
	const lines = [];
	const add = (from, to, lane) => { const path = route(from, to); if (path) lines.push({ from, to, lane, path }); };
	const by = place => [...role.values()].filter(b => b.lane.place === place).map(b => b.lane.name);
	const froms = by('from'), works = by('work'), tos = by('to');
	if (gates.length) {
		for (const n of froms) add(n, '', n);
		for (const n of works) { add('', n, n); add(n, '', n); }
		for (const n of tos) add('', n, n);
	} else {
		for (const a of froms) for (const b of works.length ? works : tos) add(a, b, b);
		for (const a of works) for (const b of tos) add(a, b, a);
	}
	return { route, lines };
};
})(View);
