"""Names of people, folders and groups, and texts of notes, as they come by chance or from somebody who wishes harm."""

HOSTILE = (
    "<script>window.executed=1;alert(1)</script>",
    '"><img src=x onerror="window.executed=1;alert(2)">',
    "'><svg onload=window.executed=1>",
    "</style></script></svg></title><b onclick=1>bold",
    "{{7*7}} {% raw %} ${7*7}",
    "javascript:window.executed=1",
    "]]> --> <!-- &amp; &lt;i&gt;",
    "\u202egnp.eman",
    "w" * 300,
    "\U0001f469\U0001f3fd\u200d\U0001f52c 名前 שם",
)
