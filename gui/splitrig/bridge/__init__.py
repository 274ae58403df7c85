"""The one crossing from services to widgets: QObjects that drain a mailbox."""
