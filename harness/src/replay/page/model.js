'use strict';
// What the events say: messages, who was there when, and what became of each message.
const View = {};
(V => {
const NS = 'http://www.w3.org/2000/svg';
const fill = (node, attrs, children) => {
	for (const [name, value] of Object.entries(attrs || {})) {
		if (value === undefined || value === null || value === false) continue;
		if (name === 'on') for (const [type, act] of Object.entries(value)) node.addEventListener(type, act);
		else node.setAttribute(name, value === true ? '' : value);
	}
	node.append(...children.filter(c => c !== null && c !== undefined && c !== false));
	return node;
};
V.el = (tag, attrs, ...children) => fill(document.createElement(tag), attrs, children);
V.svg = (tag, attrs, ...children) => fill(document.createElementNS(NS, tag), attrs, children);
V.get = id => document.getElementById(id);

// Foreign text: control and direction characters are made visible, so that they have no effect.
V.clean = text => String(text === undefined || text === null ? '' : text)
	.replace(/[\u0000-\u001f]/g, c => String.fromCharCode(0x2400 + c.charCodeAt(0)))
	.replace(/[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff]/g, '\ufffd');
V.short = (text, most) => {
	const signs = [...V.clean(text)];
	return signs.length > most ? signs.slice(0, most - 1).join('') + '…' : signs.join('');
};
const pen = document.createElement('canvas').getContext('2d');
const widths = new Map();
V.width = (text, font = '12px') => {
	const key = font + text;
	let width = widths.get(key);
	if (width === undefined) {
		if (widths.size > 4000) widths.clear();
		pen.font = font + ' ' + (V.family || 'system-ui, sans-serif');
		widths.set(key, width = pen.measureText(text).width);
	}
	return width;
};
V.fit = (text, room, font) => {
	let signs = [...V.clean(text)];
	if (V.width(signs.join(''), font) <= room) return signs.join('');
	while (signs.length && V.width(signs.join('') + '…', font) > room) signs = signs.slice(0, -1);
	return signs.join('') + '…';
};
// A name keeps its number at the end: subscr…-3.
V.fitName = (name, room, font = '600 13px') => {
	const [, stem, tail] = /^(.*?)(-\d+)?$/s.exec(V.clean(name));
	return tail ? V.fit(stem, room - V.width(tail, font), font) + tail : V.fit(stem, room, font);
};

// 12.4 ms, 3.21 s: three digits that count; `fine`: one more for large numbers.
V.time = (ns, fine) => {
	const digits = x => x.toFixed(x >= 99.95 ? (fine ? 1 : 0) : x >= 9.995 ? 1 : 2);
	if (ns <= 0) return '0 ms';
	if (ns < 999500) return digits(ns / 1e3) + ' µs';
	if (ns < 999.5e6) return digits(ns / 1e6) + ' ms';
	if (ns < 59.95e9) return digits(ns / 1e9) + ' s';
	const s = Math.round(ns / 1e9);
	return Math.floor(s / 60) + ' min ' + s % 60 + ' s';
};
V.many = (n, word) => n + ' ' + word + (n === 1 ? '' : 's');

// What an event changes in the status of its lane.
const LIFE = { joined: { there: true, how: '' }, started: { there: true, how: '' }, left: { there: false, how: 'left' }, killed: { there: false, how: 'killed' },
	paused: { paused: true }, resumed: { paused: false }, slowed: { slow: true }, quick: { slow: false }, 'connection lost': { off: true }, reconnected: { off: false } };

// `live`: the run goes on, so that what is not there yet may still come.
V.build = (replay, events, live) => {
	const pattern = replay.pattern;
	const model = { replay, events, live, pattern, copies: pattern === 'pubsub' || pattern === 'durable',
		queues: pattern === 'queue' || pattern === 'durable' || pattern === 'pipeline',
		lanes: [], lane: new Map(), messages: new Map(), order: [], cuts: [], depths: [], acks: new Set(),
		end: events.length ? events[events.length - 1].at : 0 };
	for (const given of replay.lanes || []) {
		const lane = Object.assign({}, given, { history: [], index: model.lanes.length });
		model.lanes.push(lane);
		model.lane.set(lane.name, lane);
	}
	const begun = new Set(events.filter(e => e.what === 'joined').map(e => e.lane));
	for (const lane of model.lanes) {
		const there = lane.place === 'middle' || (!begun.has(lane.name) && replay.counted > 0);
		lane.history.push({ index: -1, at: 0, there, how: there ? '' : 'not yet', since: 0, paused: false, slow: false, off: false });
	}
	events.forEach((e, index) => {
		const lane = model.lane.get(e.lane);
		if (lane && LIFE[e.what] && (e.what !== 'started' || lane.place === 'middle')) history(lane, e, index);
		if (e.what === 'cut') model.cuts.push(index);
		if (e.what === 'depth') model.depths.push({ index, count: e.count, text: e.text });
		if (e.message === undefined || e.message === null) return;
		message(model, String(e.message), e, index, lane);
	});
	model.order = [...model.messages.values()].filter(m => m.sent).sort((a, b) => a.sent.index - b.sent.index);
	for (const m of model.order) {
		m.entries = entries(model, m);
		m.settled = settled(model, m);
	}
	return model;
};

function history(lane, e, index) {
	const change = LIFE[e.what], whole = 'there' in change && { since: e.at, paused: false, off: false };
	lane.history.push(Object.assign({}, lane.history[lane.history.length - 1], whole, change, { index, at: e.at }));
}

function message(model, id, e, index, lane) {
	let m = model.messages.get(id);
	if (!m) {
		m = { id, received: [], acked: [], events: [] };
		model.messages.set(id, m);
	}
	const mark = { index, at: e.at, lane: e.lane };
	m.events.push(index);
	m.last = index;
	for (const field of ['text', 'topic', 'about']) {
		if (e[field] !== undefined && e[field] !== null && m[field] === undefined && (field !== 'text' || e.what === 'sent' || e.what === 'due')) m[field] = e[field];
	}
	if (['sent', 'confirmed', 'replied', 'answered', 'dead'].includes(e.what)) m[e.what] = m[e.what] || mark;
	if (e.what === 'sent') m.from = model.lane.get(m.sent.lane);
	if (e.what === 'received') m.received.push(Object.assign(mark, { attempt: e.attempt || 1 }));
	if (e.what === 'acked') {
		m.acked.push(mark);
		if (lane) model.acks.add(lane.place);
	}
}

V.there = (lane, at) => {
	let last = lane.history[0];
	for (const h of lane.history) if (h.at <= at) last = h;
	return last.there;
};
V.status = (lane, index) => {
	let last = lane.history[0];
	for (const h of lane.history) { if (h.index > index) break; last = h; }
	return last;
};
// The status of a lane in words; empty when there is nothing to say.
V.said = (lane, s) => {
	const middle = lane.place === 'middle';
	if (!s.there) return s.how === 'not yet' ? 'not there yet' : (middle ? 'down' : s.how === 'left' ? 'gone' : 'away') + ' since ' + V.time(s.since);
	return s.paused ? 'paused' : s.off ? 'not connected' : s.slow ? 'slow' : '';
};

function entries(model, m) {
	const receivers = model.lanes.filter(l => l.place === 'to');
	if (model.copies) return receivers.map(lane => {
		const got = m.received.filter(r => r.lane === lane.name);
		let state = 'delivered';
		if (!got.length && model.pattern === 'pubsub') state = V.there(lane, m.sent.at) ? 'lost' : 'missed';
		else if (!got.length) {
			const first = lane.history.find(h => h.there);
			state = first && first.at <= m.sent.at ? 'waiting' : 'missed';
		}
		return { m, to: lane.name, state, got, done: got.length ? got[0].index : Infinity };
	});
	const got = m.received;
	let state = got.length ? 'delivered' : 'waiting', done = got.length ? got[0].index : Infinity;
	if (model.pattern === 'reqrep') {
		state = m.answered ? 'delivered' : 'waiting';
		done = m.answered ? m.answered.index : Infinity;
	} else if (!got.length && model.pattern && model.replay.guarantee === 'at most once') state = 'lost';
	return [{ m, to: got.length ? got[got.length - 1].lane : '', state, got, done }];
}

// The state that is shown after event `index`, at the real time `at`; null: not sent yet.
V.state = (model, entry, index, at) => {
	const m = entry.m;
	if (m.sent.index > index) return null;
	if (entry.done <= index) return 'delivered';
	if (m.last > index || (model.live && at < m.sent.at + 2e9)) return 'in flight';
	return entry.state;
};

// The event after which the broker need not hold the message any more (inferred).
function settled(model, m) {
	const one = (place, lane) => {
		const list = model.acks.has(place) ? m.acked : m.received;
		const hit = list.find(r => !lane || r.lane === lane);
		return hit ? hit.index : Infinity;
	};
	if (m.dead) return m.dead.index;
	if (model.copies) return m.entries.filter(e => e.state !== 'missed').reduce((n, e) => Math.max(n, one('to', e.to)), m.sent.index);
	const place = m.from && m.from.place === 'from' && model.lanes.some(l => l.place === 'work') ? 'work' : 'to';
	return one(place);
}
V.depth = (model, index, results) => model.order.reduce((n, m) =>
	n + (m.sent.index <= index && m.settled > index && (results === undefined || V.result(m) === results) ? 1 : 0), 0);
V.result = m => !!(m.from && m.from.place === 'work');

V.account = model => {
	const at = model.clock ? model.clock() : model.end;
	// A shared message that was delivered again may have several receivers.
	return model.order.flatMap(m => m.entries.flatMap(e => {
		const state = V.state(model, e, model.events.length, at), lanes = new Set(e.got.map(r => r.lane));
		const row = to => ({ message: m.id, to, state, attempts: e.got.filter(r => r.lane === to).length });
		return lanes.size ? [...lanes].map(row) : [row(e.to)];
	}));
};
})(View);
