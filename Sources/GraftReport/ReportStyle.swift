extension ReportPage {
    /// The style sheet of the page; it follows the reader's choice of light or dark.
    static let style = """
        :root{color-scheme:light dark;--ink:#1d2329;--soft:#5c6670;--line:#dfe3e7;--paper:#fff;--shade:#f4f6f8}
        *{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
        main{max-width:1100px;margin:0 auto;padding:24px}h1{font-size:1.5rem;margin:.2em 0 .8em}h2{font-size:1.1rem;margin:2em 0 .6em}
        .cards{display:flex;flex-wrap:wrap;gap:10px;margin:0}.cards div{background:var(--shade);border-radius:8px;padding:8px 14px}
        dt{font-size:.78rem;color:var(--soft)}dd{margin:0;font-weight:600}.remark{border-left:3px solid #d99a1c;padding-left:10px}
        .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:16px;margin-top:20px}figure{margin:0}
        svg{width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:var(--soft)}svg .title{font-size:13px;font-weight:600;fill:var(--ink)}
        svg .x,svg .band{text-anchor:middle}svg .y{text-anchor:end;dominant-baseline:central}svg line.grid{stroke:var(--line)}
        svg rect.band0{fill:#8796a5;opacity:.06}svg rect.band1{fill:#8796a5;opacity:.15}svg polyline{fill:none;stroke-width:1.8}
        svg .faint{opacity:.25;stroke-width:1}svg line{stroke-width:1}svg line[class^=c]{stroke-width:3}
        .scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
        th,td{padding:3px 10px;border-bottom:1px solid var(--line);text-align:right}th{font-size:.8rem;color:var(--soft);font-weight:600}
        .t{text-align:left}.matrix td{text-align:center;min-width:34px;border:1px solid var(--paper);color:#1d2329}
        .matrix td[class$="0"]{color:var(--soft)}.matrix thead th{vertical-align:bottom;text-align:center;padding:3px 2px}
        .matrix thead span{writing-mode:vertical-rl;transform:rotate(180deg);max-height:140px}
        .mistakes{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px;font-size:.8rem}
        .mistakes img{width:100%;aspect-ratio:1;object-fit:contain;background:var(--shade);border-radius:6px;image-rendering:auto}
        pre{background:var(--shade);border-radius:8px;padding:14px;overflow-x:auto;font-size:.82rem}summary{cursor:pointer;color:var(--soft)}
        @media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa5b0;--line:#343b42;--paper:#15191d;--shade:#20262c}}
        svg .c0{stroke:#3b6fb6}svg circle.c0{fill:#3b6fb6}svg .c1{stroke:#d0662a}svg circle.c1{fill:#d0662a}svg .c2{stroke:#2f8f6b}svg circle.c2{fill:#2f8f6b}svg .c3{stroke:#8a5bb5}svg circle.c3{fill:#8a5bb5}svg .c4{stroke:#b8475c}svg circle.c4{fill:#b8475c}svg .c5{stroke:#7d7a2a}svg circle.c5{fill:#7d7a2a}svg .c6{stroke:#3a94a8}svg circle.c6{fill:#3a94a8}svg .c7{stroke:#6b7280}svg circle.c7{fill:#6b7280}
        .g1{background:#e8f3ec}.r1{background:#fbeceb}.g2{background:#d3e8db}.r2{background:#f7d9d6}.g3{background:#bcdcc8}.r3{background:#f2c3bf}.g4{background:#a4d0b5}.r4{background:#ecaca6}.g5{background:#8ac3a1}.r5{background:#e5938c}.g6{background:#6fb58c}.r6{background:#dc7971}.g7{background:#54a677}.r7{background:#d25e56}.g8{background:#3a9662}.r8{background:#c5433c}.g9{background:#23854e}.r9{background:#b52a25}
        .g7,.g8,.g9,.r7,.r8,.r9{color:#fff!important}
        """
}
