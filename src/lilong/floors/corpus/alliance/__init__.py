"""The data corpus alliance: whose texts they are, who may use them, and how they are taken out again."""
