// SPDX-License-Identifier: Apache-2.0
namespace Tidemark.Storage;

/// <summary>What the repository holds is not what was written: stop, and run verify.</summary>
public sealed class RepositoryDamagedException(string damagedObject, string expected, string actual, Exception? inner = null)
    : Exception($"Object '{damagedObject}' is damaged: expected {expected}, found {actual}.", inner)
{
    /// <summary>Key of the damaged object.</summary>
    public string DamagedObject { get; } = damagedObject;

    public string Expected { get; } = expected;

    public string Actual { get; } = actual;
}

/// <summary>There is no repository at this place: create one with init, or name another place.</summary>
public sealed class RepositoryNotFoundException(string store) : Exception($"There is no repository in '{store}'.");

/// <summary>Init found something there already.</summary>
public sealed class RepositoryExistsException(string message) : Exception(message);

/// <summary>No key slot opens with this password or key file.</summary>
public sealed class WrongKeyException(string message) : Exception(message);

/// <summary>The key opens the repository for maintenance, or for one key domain only: use a full one (docs/format.md section 6).</summary>
public sealed class KeyRoleException(string message) : Exception(message)
{
    /// <summary>A maintenance key was used on guest data.</summary>
    public KeyRoleException()
        : this("The key given has the role 'maintenance', which can't read or write guest data; a key of the role 'full' is required.")
    {
    }

    internal KeyRoleException(string held, string wanted)
        : this($"The key given opens key domain '{held}' only, and this is of {KeyDomain.Describe(wanted)}.")
    {
    }
}

/// <summary>A key can't be removed.</summary>
public sealed class KeyRemovalException(string message) : Exception(message);

/// <summary>A newer program made this repository or added a feature to it: use that one.</summary>
public sealed class FormatTooNewException(string message) : Exception(message);

/// <summary>Someone put this run's tombstone, or it failed: nothing was committed, begin a new run.</summary>
public sealed class RunRevokedException(string message) : Exception(message);

/// <summary>A base of the run was deleted or is gone: plan again without it.</summary>
public sealed class BaseUnusableException(string message) : Exception(message);

/// <summary>Whether the point was committed could not be found out: fence the run later to know.</summary>
public sealed class CommitUnknownException(string message, Exception inner) : Exception(message, inner);

/// <summary>The restore point was deleted for good, or never was: choose another one.</summary>
public sealed class PointGoneException(string message) : Exception(message);

/// <summary>A collection did not begin, or stopped, because going on could lose data; nothing was deleted.</summary>
public sealed class CollectionRefusedException(string message) : Exception(message);
