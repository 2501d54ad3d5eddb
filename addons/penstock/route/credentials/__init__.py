"""Real keys for applications that hold worthless ones: where they come from, how long they
last, how they are put into a request, and how they are kept out of answers.

One small file per source; each is imported when a policy names it. A key lives in memory
only, in objects that do not show it. Nothing here knows mitmproxy.
"""
