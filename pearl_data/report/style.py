"""How the gallery of trajectories and the figures above it look."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px;
  margin-top: 28px; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 14px 16px; }
.figure b { display: block; font-size: 28px; line-height: 1.2; font-weight: 600; }
.gallery { display: grid; gap: 20px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 20px; display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 7fr); gap: 24px; }
@media (max-width: 760px) { .card { grid-template-columns: minmax(0, 1fr); } }
.question { font-size: 18px; font-weight: 600; line-height: 1.35; }
.root { position: relative; margin: 0 0 6px; line-height: 0; }
.root img { width: 100%; height: auto; border-radius: 4px; }
.box { position: absolute; border: 3px solid; outline: 1px solid #fff; }
.box span { position: absolute; left: -3px; bottom: 100%; min-width: 22px; padding: 0 6px;
  color: #fff; font-size: 13px; line-height: 22px; font-weight: 600; text-align: center; }
.box.low span { bottom: auto; top: 100%; }
.box.in span { bottom: auto; top: -3px; }
.choices { display: flex; flex-wrap: wrap; gap: 6px; margin: 8px 0 0; padding: 0; }
.choice { border: 1px solid var(--line); border-radius: 99px; padding: 1px 10px; font-size: 14px; }
.choice.right { border-color: var(--good); color: var(--good); font-weight: 600; }
.step { margin: 0 0 14px; }
.call { display: flex; gap: 12px; margin: 6px 0 0; align-items: flex-start; }
.number { flex: none; width: 24px; height: 24px; border-radius: 50%; color: #fff; font-size: 13px;
  font-weight: 600; line-height: 24px; text-align: center; }
.call code { font-size: 13px; overflow-wrap: anywhere; }
.seen { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 6px; }
.seen figure { margin: 0; max-width: 260px; }
.seen img { display: block; max-width: 100%; border: 3px solid; border-radius: 3px; }
.bar { display: flex; align-items: center; gap: 6px; }
.bar i { flex: 1; height: 7px; background: linear-gradient(to right, #000004, #420a68, #932667,
  #dd513a, #fca50a, #fcffa4); }
.answer { border-top: 1px solid var(--line); padding-top: 10px; }
.answer b { font-size: 20px; }
.tables { display: flex; flex-wrap: wrap; gap: 0 56px; align-items: flex-start; }
.tables section { min-width: 0; }
.histogram { display: inline-block; height: 11px; background: #1f6fb2; }
"""
